"""pgrls, a linter and prover of row security, reads what a migration leaves: see docs/row-security.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from psycopg import sql

from daily import daily, nightly
from linters.conftest import Migrated
from linters.linted_databases import Judged
from servers import Database
from tenantry.model.name import Name
from tenantry.model.ownership import Ownership
from tenantry.model.plan import Phase
from tenantry.steps import DropGlobalUnique
from tenantry.steps.row_security import APPLICATION, OPERATOR

MODES = ("anon", "cross-tenant", "write")
TERRITORY = "sales.salesterritory"


# -- what is allowed, from facts of the migrated database: where they do not hold, the complaint stays


@dataclass(frozen=True, slots=True, order=True)
class Allowed:
    """An entry of an allowlist. `object` is schema.table, and behind it a trigger or policy."""

    rule: str
    object: str
    reason: str


SHARED = "shared by the spec; the application may only read it"
USERS_TRIGGER = "the user's own; it runs as whoever writes, so the policies bind it"
OUR_TRIGGER = "ours: SECURITY DEFINER with a pinned search_path, in a schema that the application cannot use"
READ_ONLY = "the application may not write it, so it can try no value"
REPLACED = "stands until contract beside the one for each tenant, for old applications' ON CONFLICT"
IMPLIED = "its columns hold a key whose row is of the same tenant: a composite foreign key says so"
INVOKER = "runs as whoever asks, who may read the tables beneath: it hides nothing that they would not show"
NOT_GRANTED = "the application may not read it"
OWNERS_OWN = "for the owner of the table alone, who bypasses no row security; the application is no member"

TRIGGERS = """
SELECT n.nspname || '.' || c.relname || '.' || t.tgname, f.nspname = 'tenantry',
       CASE f.nspname WHEN 'tenantry'
         THEN p.prosecdef AND p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp']
              AND NOT has_schema_privilege(%(role)s, f.oid, 'USAGE')
         ELSE NOT p.prosecdef END
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace f ON f.oid = p.pronamespace
WHERE NOT t.tgisinternal AND c.relrowsecurity
"""
# The tenant column is the one whose default is the setting; the tenant table has none.
UNIQUES = """
SELECT n.nspname || '.' || c.relname, x.relname,
       NOT has_table_privilege(%(role)s, c.oid, 'INSERT')
         AND NOT has_any_column_privilege(%(role)s, c.oid, 'UPDATE'),
       coalesce(a.attnum = ANY (i.indkey) OR EXISTS (
         SELECT FROM pg_constraint k
         WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.convalidated AND k.conname LIKE 'tenantry%%'
           AND a.attnum = ANY (k.conkey) AND cardinality(k.conkey) > 1
           AND array_remove(k.conkey, a.attnum) <@ i.indkey::int2[]), false)
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND pg_get_expr(d.adbin, d.adrelid) LIKE %(setting)s
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.adnum
WHERE i.indisunique AND NOT i.indisprimary AND c.relrowsecurity
"""
VIEWS = """
SELECT n.nspname || '.' || v.relname, v.relkind = 'm',
       CASE v.relkind WHEN 'm' THEN NOT has_table_privilege(%(role)s, v.oid, 'SELECT')
            ELSE v.reloptions @> ARRAY['security_invoker=true']
              AND bool_and(NOT t.relrowsecurity OR has_table_privilege(%(role)s, t.oid, 'SELECT')) END
FROM pg_class v JOIN pg_namespace n ON n.oid = v.relnamespace
JOIN pg_rewrite r ON r.ev_class = v.oid
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
JOIN pg_class t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid
WHERE v.relkind IN ('v', 'm')
GROUP BY v.oid, n.nspname, v.relname
"""
OPERATORS = """
SELECT n.nspname || '.' || c.relname || '.' || p.polname
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles owner ON owner.oid = c.relowner
WHERE p.polname = %(policy)s AND p.polpermissive AND p.polroles = ARRAY[c.relowner]
  AND NOT owner.rolsuper AND NOT owner.rolbypassrls AND NOT pg_has_role(%(role)s, c.relowner, 'MEMBER')
"""
READABLE_ONLY = """
SELECT has_table_privilege(%(role)s, c.oid, 'SELECT')
   AND NOT EXISTS (SELECT FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
                   WHERE has_table_privilege(%(role)s, c.oid, privilege))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(name)s
"""


def rows(judged: Judged, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """What a query returns; it may name the application role, the setting and the operator's policy."""
    setting = f"%current_setting('{judged.spec.tenant.setting}'%"
    known = {"role": judged.role, "setting": setting, "policy": OPERATOR}
    with judged.database.connect() as connection:
        return connection.execute(query, known | parameters).fetchall()  # type: ignore[arg-type]


def allowed(judged: Judged, shared: tuple[Name, ...], waiting: set[tuple[str, str]]) -> Iterator[Allowed]:
    """`waiting` are the tables and unique indexes that contract will drop."""
    for name in shared:
        if rows(judged, READABLE_ONLY, schema=name.schema, name=name.name) == [(True,)]:
            yield Allowed("SEC001", f"{name.schema}.{name.name}", SHARED)
    for trigger, ours, harmless in rows(judged, TRIGGERS):
        if harmless:
            yield Allowed("SEC013", trigger, OUR_TRIGGER if ours else USERS_TRIGGER)
    yield from allowed_uniques(rows(judged, UNIQUES), waiting)
    for view, materialised, harmless in rows(judged, VIEWS):
        if harmless and materialised:
            yield Allowed("VIEW003", view, NOT_GRANTED)
        elif harmless:
            yield Allowed("VIEW002", view, INVOKER)
    for (policy,) in rows(judged, OPERATORS):
        for rule in ("SEC005", "SEC008", "SEC028", "SEC038"):
            yield Allowed(rule, policy, OWNERS_OWN)


def allowed_uniques(found: list[tuple[Any, ...]], waiting: set[tuple[str, str]]) -> Iterator[Allowed]:
    """The rule allows a table as a whole, so each of its unique indexes must have its reason."""
    reasons: dict[str, set[str | None]] = {}
    for table, index, read_only, implied in found:
        reason = READ_ONLY if read_only else IMPLIED if implied else None
        reasons.setdefault(table, set()).add(REPLACED if (table, index) in waiting else reason)
    for table, given in reasons.items():
        if None not in given:
            yield Allowed("SEC035", table, "; ".join(sorted(reason for reason in given if reason)))


def configuration(ownership: Ownership, entries: list[Allowed]) -> str:
    """pgrls.toml: the tenant columns, and the entries with their reasons. No rule is switched off."""
    columns = sorted({owned.column for owned in ownership.owned} | {ownership.tenant.key})
    document: Any = tomlkit.document()
    document["lint"] = {"fail_on": "warning", "rules": {"SEC021": {"identity_columns": columns}}}
    for rule in sorted({entry.rule for entry in entries}):
        listed = tomlkit.array().multiline(True)
        for entry in sorted(entries):
            if entry.rule == rule:
                listed.add_line(entry.object, comment=entry.reason)
        listed.add_line(indent="")
        document["lint"]["rules"].setdefault(rule, tomlkit.table())["allowlist"] = listed
    return tomlkit.dumps(document)


# -- what pgrls says


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Runs pgrls on databases like `judged`."""

    judged: Judged
    file: Path
    schemas: tuple[str, ...]

    def __call__(self, command: str, *options: str, database: Database | None = None) -> Any:
        arguments = [
            Path(sys.executable).with_name("pgrls"), command, "--format", "json", "--config", self.file,
            "--database-url", (database or self.judged.database).dsn,
            "--schemas", ",".join(self.schemas), *options,
        ]  # fmt: skip
        done = subprocess.run(arguments, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    def complaints(self, database: Database | None = None) -> set[tuple[str, str]]:
        """Rule and place of each error and warning."""
        found = self("lint", database=database)
        return {
            (one["rule_id"], one["location"]) for one in found["violations"] if one["severity"] in ("error", "warning")
        }

    def leaks(self, mode: str, database: Database) -> set[str]:
        return {table for table, verdict in self.verdicts(mode, database).items() if verdict == "leak"}

    def verdicts(self, mode: str, database: Database) -> dict[str, str]:
        """Per table: isolated, leak or unverified."""
        found = self("verify", "--mode", mode, database=database)
        return {table["table"]: table["verdict"] for table in found["tables"]}


def judge(judged: Judged, folder: Path) -> Judge:
    with judged.session() as session:
        ownership = session.plan.ownership
        waiting = {
            (f"{step.table.schema}.{step.table.name}", step.unique.name)
            for step in session.plan.steps
            if isinstance(step, DropGlobalUnique) and step.key not in session.entries
        }
    file = folder / "pgrls.toml"
    file.write_text(configuration(ownership, list(allowed(judged, ownership.shared, waiting))))
    tables = [ownership.tenant.name, *ownership.shared, *(owned.table for owned in ownership.owned)]
    return Judge(judged=judged, file=file, schemas=tuple(sorted({table.schema for table in tables})))


# -- the linter


@pytest.mark.parametrize(
    ("name", "until"),
    [
        case if case in (("estoque", Phase.CONTRACT), ("managed", Phase.ISOLATE)) else nightly(case)
        for case in product(("estoque", "enterprise", "managed"), (Phase.ISOLATE, Phase.CONTRACT))
    ],
)
def test_lint_presets(name: str, until: Phase, migrated: Migrated, tmp_path: Path) -> None:
    """No error and no warning, but for what is in its allowlist with a reason."""
    judged = migrated(name, until)
    assert judge(judged, tmp_path).complaints() == set()
    assert rows(judged, "SELECT has_schema_privilege(%(role)s, 'tenantry', 'USAGE')") == [(False,)]


@pytest.mark.nightly
@pytest.mark.parametrize("tenant_table", [None, TERRITORY], ids=["one tenant", "territories"])
def test_lint_adventureworks(tenant_table: str | None, migrated_real: Migrated, tmp_path: Path) -> None:
    judged = migrated_real("adventureworks", tenant_table=tenant_table)
    assert judge(judged, tmp_path).complaints() == set()


def test_uniques_that_tie_tenants_are_complained_of(migrated: Migrated, tmp_path: Path) -> None:
    """What the spec leaves global, and no key explains, stays a complaint; our own triggers do not."""
    assert judge(migrated("corners"), tmp_path).complaints() == {
        ("SEC035", "public.tag (tag_name_key)"),
        ("SEC035", "public.lot (lot_code_key)"),
    }


# -- the prover


def rewrite(database: Database, change: Callable[[str], str], tables: tuple[str, ...] = (), only: str = "") -> None:
    """Change the expressions of all policies, or of those of `tables`, or of the one policy."""
    policies = database.rows("SELECT schemaname, tablename, policyname, qual, with_check FROM pg_policies")
    with database.connect() as connection:
        for schema, table, policy, using, check in policies:
            if (tables and f"{schema}.{table}" not in tables) or only not in ("", policy):
                continue
            statement = sql.SQL("ALTER POLICY {} ON {}").format(sql.Identifier(policy), sql.Identifier(schema, table))
            for clause, text in ((" USING ({})", using), (" WITH CHECK ({})", check)):
                if text is not None:
                    statement += sql.SQL(clause).format(sql.SQL(change(text)))
            connection.execute(statement)


def without_nullif(text: str) -> str:
    """What the prover can read: an empty setting, which NULLIF is for, is a text like any other to it."""
    found = re.sub(r"NULLIF\((current_setting\('[^']*'::text, true\)), ''::text\)", r"\1", text)
    assert "NULLIF" not in found
    return found


def without_shared_rows(text: str) -> str:
    return re.sub(r"\(\w+ IS NULL\) OR ", "", text)


# A row without a tenant is everybody's: reading one is no leak, but no tenant scopes it, so the prover calls
# these tables unverified for reading. It proves them for writing, and for reading without such rows.
ALERTS = "public.estoque_alertas"
MIXED = {"estoque": (ALERTS,), "managed": (ALERTS,), "corners": ("public.tag",)}
# `true` for the owner scopes nothing either, and no table with it is proven. In the copy it goes, where the
# facts of OPERATORS hold.
OPERATED = ("managed",)


def assert_proven(name: str, judged: Judged, copy: Database, folder: Path) -> None:
    run = judge(judged, folder)
    for mode in MODES:
        assert run.leaks(mode, judged.database) == set()
    if name in OPERATED:
        for (policy,) in rows(judged, OPERATORS):
            table, _, policy_name = policy.rpartition(".")
            copy.execute(f"DROP POLICY {policy_name} ON {table}")
    rewrite(copy, without_nullif)
    mixed = MIXED.get(name, ())
    verdicts = {mode: run.verdicts(mode, copy) for mode in MODES}
    protected = copy.rows("SELECT count(*) FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
    for mode, tables in verdicts.items():
        assert [(len(tables),)] == protected
        unproven = {table: verdict for table, verdict in tables.items() if verdict != "isolated"}
        assert unproven == ({} if mode == "write" else dict.fromkeys(mixed, "unverified"))
    if mixed:
        rewrite(copy, without_shared_rows, mixed)
        for mode in MODES:
            assert set(run.verdicts(mode, copy).values()) == {"isolated"}


@pytest.mark.parametrize("name", daily(["managed", "estoque", "enterprise", "corners"]))
def test_our_schemas_are_proven(
    name: str, migrated: Migrated, new_database: Callable[..., Database], tmp_path: Path
) -> None:
    """No leak; on the same policies without NULLIF every table is proven, but for those that are listed."""
    judged = migrated(name)
    assert_proven(name, judged, new_database(judged.database.name), tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("tenant_table", [None, TERRITORY], ids=["one tenant", "territories"])
def test_adventureworks_is_proven(
    tenant_table: str | None, migrated_real: Migrated, new_database: Callable[..., Database], tmp_path: Path
) -> None:
    judged = migrated_real("adventureworks", tenant_table=tenant_table)
    assert_proven("adventureworks", judged, new_database(judged.database.name), tmp_path)


# -- the judge judges


TRIGGER = "estoque_escolas.estoque_escolas_ultima_atualizacao"
FAULTS = (
    ("ALTER TABLE usuarios NO FORCE ROW LEVEL SECURITY", "SEC002", "usuarios"),
    ("ALTER TABLE estoque_alertas DISABLE ROW LEVEL SECURITY", "SEC032", "estoque_alertas"),
    ("ALTER POLICY {app} ON usuarios WITH CHECK (true)", "SEC020", "usuarios.tenantry_application"),
    ("CREATE POLICY more ON escolas USING (true)", "SEC038", "escolas.more"),
    ("CREATE POLICY {operator} ON escolas TO {role} USING (true)", "SEC038", "escolas.tenantry_operator"),
    ("ALTER VIEW vw_estoque_disponivel RESET (security_invoker)", "VIEW001", "vw_estoque_disponivel"),
    ("GRANT UPDATE ON produtos TO {role}", "SEC001", "produtos"),
    ("CREATE UNIQUE INDEX codes ON escolas (codigo)", "SEC035", "escolas (codes)"),
    ("GRANT UPDATE (slug) ON tenants TO {role}", "SEC035", "tenants (tenants_slug_key)"),
    ("ALTER FUNCTION marca_ultima_atualizacao() SECURITY DEFINER", "SEC013", TRIGGER),
    ("REVOKE SELECT ON estoque_lotes FROM {role}", "VIEW002", "vw_lotes_vencendo"),
    ("CREATE MATERIALIZED VIEW v AS SELECT * FROM escolas; GRANT SELECT ON v TO {role}", "VIEW003", "v"),
)


def test_faults_are_complained_of(migrated: Migrated, new_database: Callable[..., Database], tmp_path: Path) -> None:
    """The linter sees each thing that we broke, or the facts behind its entry no longer hold."""
    judged = migrated("estoque")
    broken = Judged(database=new_database(judged.database.name), spec=judged.spec)
    expected = {(rule, f"public.{place}") for _, rule, place in FAULTS}
    assert not expected & judge(broken, tmp_path).complaints()
    for fault, _, _ in FAULTS:
        broken.database.execute(fault.format(role=f'"{judged.role}"', app=APPLICATION, operator=OPERATOR))
    assert expected - judge(broken, tmp_path).complaints() == set()


def without_exemption(text: str) -> str:
    """The floor without the operator's exemption, which the prover cannot decide."""
    return re.sub(r" OR \( SELECT pg_has_role\(\(?to_regrole\([^)]*\)[^)]*\)?[^)]*\) AS pg_has_role\)", "", text)


def or_true(text: str) -> str:
    return f"{text} OR true"


@pytest.mark.parametrize(
    ("policies", "more", "modes"),
    daily(
        [
            pytest.param(("tenantry_application", "tenantry_floor"), "", {"cross-tenant", "write"}, id="both"),
            pytest.param(("tenantry_application",), "", set(), id="the floor holds"),
            pytest.param(("tenantry_floor",), "", set(), id="the application's holds"),
            pytest.param(("tenantry_floor",), "CREATE POLICY more ON escolas USING (true)", {"anon"}, id="a new policy"),
        ],
        2,
    ),
)  # fmt: skip
def test_leaks_are_found(
    policies: tuple[str, ...], more: str, modes: set[str], migrated: Migrated,
    new_database: Callable[..., Database], tmp_path: Path,
) -> None:  # fmt: skip
    """With `OR true` in these policies of one table the prover finds it, where no other policy holds."""
    judged = migrated("estoque")
    copy = new_database(judged.database.name)
    rewrite(copy, lambda text: without_exemption(without_nullif(text)))
    for policy in policies:
        rewrite(copy, or_true, ("public.escolas",), policy)
    if more:
        copy.execute(more)
    run = judge(judged, tmp_path)
    verdicts = {mode: run.verdicts(mode, copy) for mode in MODES}
    leaks = {(mode, table) for mode in MODES for table in verdicts[mode] if verdicts[mode][table] == "leak"}
    assert leaks == {(mode, "public.escolas") for mode in modes}
    assert modes or all(verdicts[mode]["public.escolas"] == "isolated" for mode in MODES)
