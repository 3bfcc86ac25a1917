"""Whether what the phase distribute refuses is true, asked of the catalog and of the rows, and not of the plan."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from acceptance.distributed import TABLES, Distributed, distributed
from servers import Database
from tenantry.model.finding import Finding
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

CATALOG = {
    "shared-reference": """
      SELECT FROM pg_constraint c JOIN copied f ON f.oid = c.conrelid JOIN owned o ON o.oid = c.confrelid
      WHERE c.contype = 'f' AND f.oid = here.oid""",
    "outside-reference": """
      SELECT FROM pg_constraint c JOIN owned o ON o.oid = c.confrelid
      WHERE c.contype = 'f' AND c.conrelid = here.oid AND NOT EXISTS (SELECT FROM every e WHERE e.oid = here.oid)""",
    "inheritance": """
      SELECT FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
      WHERE here.oid IN (i.inhrelid, i.inhparent) AND p.relkind <> 'p'""",
    "generated": """
      SELECT FROM owned o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = o.tenant
      WHERE o.oid = here.oid AND a.attgenerated <> ''""",
    "exclusion": """
      SELECT FROM pg_constraint c JOIN owned o ON o.oid = c.conrelid
      WHERE c.conrelid = here.oid AND c.contype IN ('x', 'p') AND c.conexclop IS NOT NULL AND (o.tenant = ANY (c.conkey) AND c.conexclop[array_position(c.conkey, o.tenant)]::regoper::text = '=') IS NOT TRUE""",
    "restrictive-policy": """
      SELECT FROM pg_policy p WHERE p.polrelid = here.oid AND NOT p.polpermissive AND p.polname NOT LIKE 'tenantry%%'""",
    "policy-subquery": """
      SELECT FROM pg_policy p WHERE p.polrelid = here.oid AND p.polname NOT LIKE 'tenantry%%'
        AND concat(p.polqual, p.polwithcheck) LIKE '%%{SUBLINK %%'""",
    "view-on-key": """
      SELECT FROM pg_constraint c JOIN pg_depend d ON d.refclassid = 'pg_constraint'::regclass AND d.refobjid = c.oid
      WHERE c.conrelid = here.oid AND c.contype IN ('p', 'u')
        AND d.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass)""",
    "permissive-policy": """
      SELECT FROM pg_policy p JOIN owned o ON o.oid = p.polrelid
      WHERE o.oid = here.oid AND p.polpermissive AND p.polname NOT LIKE 'tenantry%%'
        AND p.polroles <> ARRAY['pg_monitor'::regrole::oid]""",
    "invalid-index": """
      SELECT FROM pg_index i JOIN owned o ON o.oid = i.indrelid
      WHERE o.oid = here.oid AND i.indisunique AND NOT i.indisvalid""",
}
"""By the name of a finding without `distribute-refuses-`, what there has to be of its table, which is `here`."""


def untrue(database: Database, spec: Spec, findings: Iterable[Finding]) -> list[Finding]:
    """The refusals that nothing in a migrated database accounts for, and those that are not known here."""
    tables = distributed(Target(database.dsn), spec)
    refusals = [one for one in findings if one.refuses and not one.forcible]
    return [one for one in refusals if not _true(database, tables, one)]


def _true(database: Database, tables: Distributed, finding: Finding) -> bool:
    name = finding.name.removeprefix("distribute-refuses-")
    if finding.table is None:
        return False
    table = finding.table.identifier.as_string(None)
    if name == "membership":
        return table in tables.members and table not in tables.columns
    if name == "sentinel":
        # A key or slug that is taken, or a check or domain of one of the tables with the tenant.
        return any(word in finding.message for word in ("accept", "has a tenant with", "needs a value"))
    if name == "mixed-reference":
        return _mixed(database, tables, table)
    if name not in CATALOG:
        return False
    query = f"{TABLES}, here AS (SELECT %(here)s::regclass AS oid) SELECT FROM here WHERE EXISTS ({CATALOG[name]})"
    return database.rows(query, {**tables.parameters, "here": table}) != []


def _mixed(database: Database, tables: Distributed, table: str) -> bool:
    """Whether some row of the table refers to one of all tenants without being such a row, or the other way round."""
    keys = database.rows(
        "SELECT c.confrelid::regclass::text, n.nspname, p.relname, h.here, h.there FROM pg_constraint c"
        " JOIN pg_class p ON p.oid = c.confrelid JOIN pg_namespace n ON n.oid = p.relnamespace, LATERAL ("
        "   SELECT array_agg(a.attname::text ORDER BY k.n) AS here, array_agg(b.attname::text ORDER BY k.n) AS there"
        "   FROM unnest(c.conkey, c.confkey) WITH ORDINALITY AS k(here, there, n)"
        "   JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.here"
        "   JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = k.there) AS h"
        " WHERE c.contype = 'f' AND c.conrelid = %s::regclass",
        [table],
    )  # fmt: skip
    for _, schema, name, here, there in keys:
        parent = sql.Identifier(schema, name)
        column = tables.columns.get(parent.as_string(None))
        if column is None:
            continue
        same = sql.SQL(" AND ").join(
            sql.SQL("c.{} = p.{}").format(sql.Identifier(one), sql.Identifier(other))
            for one, other in zip(here, there, strict=True)
        )
        query = sql.SQL("SELECT FROM {} c JOIN {} p ON {} WHERE (c.{} IS NULL) <> (p.{} IS NULL) LIMIT 1").format(
            sql.SQL(table), parent, same, sql.Identifier(tables.columns[table]), sql.Identifier(column)
        )
        if database.rows(query):
            return True
    return False
