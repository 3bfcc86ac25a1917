"""Whatever migrate has made: once it is dropped, switched off or changed, validate says so, and names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path

import pytest

from acceptance.kill_scenarios import SCENES
from checks.haulage import SCHEMA, SPEC, isolated_haulage, serious, validated
from daily import daily
from servers import Database
from tenantry import InspectionOptions, MigrateOptions, migrate
from tenantry.checks.base import CheckContext
from tenantry.checks.session_pool import Stop
from tenantry.checks.structure import structure
from tenantry.commands.inspection import open_check_context
from tenantry.execution.events import ignore
from tenantry.model.finding import Finding, Severity
from tenantry.model.plan import Phase
from tenantry.model.schema import ManagedObjects
from tenantry.model.spec import Spec
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.connect import Target

__all__ = ["isolated_haulage"]

# Kind, the name that a finding must hold, and the mutation. What hangs on a partition's parent goes with that.
OBJECTS = """
WITH mine AS (SELECT c.*, c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname !~ '^(pg_|information_schema)' AND (n.nspname <> 'tenantry' OR c.relname ~ '^assigned_'))
SELECT 'trigger', tgname::text, format('DROP TRIGGER %I ON %s', tgname, m.name)
  FROM pg_trigger JOIN mine m ON m.oid = tgrelid WHERE NOT tgisinternal AND tgparentid = 0
UNION ALL SELECT 'trigger off', tgname, format('ALTER TABLE %s DISABLE TRIGGER %I', m.name, tgname)
  FROM pg_trigger JOIN mine m ON m.oid = tgrelid WHERE NOT tgisinternal AND tgparentid = 0
UNION ALL SELECT 'function', proname, format('DROP FUNCTION %s CASCADE', p.oid::regprocedure)
  FROM pg_proc p WHERE pronamespace = to_regnamespace('tenantry')
UNION ALL SELECT 'function changed', proname, format('ALTER FUNCTION %s SECURITY INVOKER', p.oid::regprocedure)
  FROM pg_proc p WHERE pronamespace = to_regnamespace('tenantry') AND prosecdef
UNION ALL SELECT 'policy', polname, format('DROP POLICY %I ON %s', polname, m.name)
  FROM pg_policy JOIN mine m ON m.oid = polrelid
UNION ALL SELECT 'policy changed', polname, format('ALTER POLICY %I ON %s USING (true)', polname, m.name)
  FROM pg_policy JOIN mine m ON m.oid = polrelid WHERE polqual IS NOT NULL AND pg_get_expr(polqual, polrelid) <> 'true'
UNION ALL SELECT 'row security', relname, format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', name)
  FROM mine WHERE relrowsecurity
UNION ALL SELECT 'force', relname, format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', name)
  FROM mine WHERE relforcerowsecurity
UNION ALL SELECT 'index', relname, format('DROP INDEX %s CASCADE', name) FROM mine m
  WHERE relkind IN ('i', 'I') AND NOT relispartition AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = m.oid AND contype IN ('p', 'u'))
UNION ALL SELECT 'constraint', conname, format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', m.name, conname)
  FROM pg_constraint JOIN mine m ON m.oid = conrelid WHERE contype IN ('c', 'f', 'p', 'u') AND coninhcount = 0 AND conparentid = 0
UNION ALL SELECT 'not null', attname, format('ALTER TABLE %s ALTER %I DROP NOT NULL', m.name, attname)
  FROM pg_attribute a JOIN mine m ON m.oid = attrelid WHERE relkind IN ('r', 'p') AND attnotnull AND attinhcount = 0
  AND attnum > 0 AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = m.oid AND indisprimary AND attnum = ANY (indkey))
UNION ALL SELECT 'default', attname, format('ALTER TABLE ONLY %s ALTER %I DROP DEFAULT', m.name, attname)
  FROM pg_attribute a JOIN mine m ON m.oid = attrelid WHERE relkind IN ('r', 'p') AND atthasdef AND attgenerated = '' AND attnum > 0
UNION ALL SELECT 'view', relname, format('ALTER VIEW %s RESET (security_invoker)', name) FROM mine
  WHERE relkind = 'v' AND 'security_invoker=true' = ANY (reloptions)
UNION ALL SELECT 'privilege', relname,
  format('REVOKE %s ON %s %s FROM %I', privilege_type, CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, name, grantee::regrole)
  FROM mine, aclexplode(relacl) WHERE grantee > 0 AND grantee <> relowner
UNION ALL SELECT 'schema', nspname, format('REVOKE USAGE ON SCHEMA %I FROM %I', nspname, grantee::regrole)
  FROM pg_namespace, aclexplode(nspacl) WHERE nspname <> 'tenantry' AND grantee > 0 AND grantee <> nspowner AND nspname !~ '^pg_'
UNION ALL SELECT 'column', attname, format('ALTER TABLE %s DROP %I CASCADE', m.name, attname)
  FROM pg_attribute a JOIN mine m ON m.oid = attrelid
  WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped AND attinhcount = 0
UNION ALL SELECT 'table', relname, format('DROP TABLE %s CASCADE', name) FROM mine WHERE relkind IN ('r', 'p') AND NOT relispartition
"""
Mutation = tuple[str, str, str]
REREAD = ("column", "table")
"""Without these the catalog queries of other steps fail, which a transaction does not survive."""


def made(before: Database, after: Database) -> list[Mutation]:
    """The mutations of what one database has and the other has not, those of each kind together."""
    had, has = (objects(database) for database in (before, after))
    return sorted(has - had)


def objects(database: Database) -> set[Mutation]:
    with database.connect(options="-c search_path=pg_catalog") as connection:
        return set(connection.execute(OBJECTS.encode()))


@contextmanager
def standing(database: Database, spec: Spec) -> Iterator[CheckContext]:
    with open_check_context(
        Target(database.dsn), spec, InspectionOptions(), ignore, Stop(), run="", purpose="test"
    ) as context:  # fmt: skip
        context.connection.execute("SET default_transaction_read_only = off")
        yield context


def named(findings: list[Finding], name: str) -> bool:
    names = (name, name.replace('"', '""'))
    return any(one in finding.message for one in names for finding in findings if finding.severity is Severity.ERROR)


def unnoticed(database: Database, spec: Spec, mutations: list[Mutation]) -> list[tuple[Mutation, list[str]]]:
    """The mutations that structure does not name, each tried in a transaction that is rolled back."""
    missed = []
    with standing(database, spec) as context:
        assert serious(structure(context)) == set()  # type: ignore[arg-type]
        for mutation in mutations:
            with context.connection.transaction(force_rollback=True):
                context.connection.execute(mutation[2].encode())
                findings = [one for one in structure(context) if isinstance(one, Finding)]
                if not named(findings, mutation[1]):
                    live = read_schema(context.connection, spec.schemas, managed=ManagedObjects())
                    findings = [one for one in structure(replace(context, live=live)) if isinstance(one, Finding)]
            if not named(findings, mutation[1]):
                missed.append((mutation, [finding.message for finding in findings]))
    return missed


@pytest.fixture
def untouched(template: Callable[..., Database]) -> Database:
    return template("fleet before", lambda database: database.execute(SCHEMA))


def of_each_kind(mutations: list[Mutation], count: int | None) -> list[Mutation]:
    """The first `count` of each kind, None for all."""
    kinds = groupby(mutations, key=lambda mutation: mutation[0])
    return [mutation for _, alike in kinds for mutation in islice(alike, count)]


COUNTS = daily([2, None])


@pytest.mark.server
@pytest.mark.parametrize("count", COUNTS)
def test_each_object(isolated_haulage: Database, untouched: Database, count: int | None) -> None:
    """Of the database with every way to a tenant, migrated until isolate."""
    mutations = made(untouched, isolated_haulage)
    kinds = {kind for kind, _, _ in mutations}
    assert kinds >= {"trigger", "trigger off", "function", "policy", "policy changed", "row security", "force", "index",
                     "constraint", "not null", "default", "privilege", "column"}  # fmt: skip
    assert len(mutations) > 150
    mutations = [one for one in mutations if one[0] not in REREAD]
    assert not unnoticed(isolated_haulage, Spec.parse(SPEC), of_each_kind(mutations, count))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", REREAD)
def test_each_object_that_others_need(
    isolated_haulage: Database, untouched: Database, new_database: Callable[..., Database], kind: str, count: int | None
) -> None:
    """A tenant column, with all that stands on it, or a table of ours: the whole of validate says so, and stops at
    nothing."""
    mutations = [one for one in made(untouched, isolated_haulage) if one[0] == kind]
    for _, name, statement in of_each_kind(mutations, count):
        database = new_database(isolated_haulage.name)
        database.execute(statement)
        findings = [one for one in validated(database).findings if one.severity is not Severity.INFO]
        assert named(findings, name), (statement, findings)
        assert not [one for one in findings if one.name == "check-failed"]


@pytest.mark.parametrize("count", COUNTS)
def test_after_contract_and_with_tenants_of_our_own(
    template: Callable[..., Database], tmp_path: Path, role: Callable[..., str], count: int | None
) -> None:
    """The same where the tenant table is ours and a file says whose the rows are, after contract."""
    scene = SCENES["bazaar"]
    path = scene.write_spec(tmp_path, role(create=False, name="app"), role(name="legacy"))
    before, after = (template("killed bazaar", scene.build) for _ in range(2))
    spec = Spec.read(path)
    migrate(Target(after.dsn), spec, MigrateOptions(until=Phase.CONTRACT, force=True))
    mutations = made(before, after)
    assert {name for kind, name, _ in mutations if kind == "table"} == {"tenants", "assigned_public__branches"}
    # The user may do with names and states of tenants as he likes; a primary key goes by the name of its column.
    free = {"tenants_pkey", "tenants_slug_key", "assigned_public__branches_pkey", "name", "status"}
    loose = [one for one in mutations if one[0] in REREAD or one[1] in free or "assigned_" in one[2]]
    assert not unnoticed(after, spec, of_each_kind([one for one in mutations if one not in loose], count))
    for constraint, column in (("tenants_pkey", "id"), ("tenants_slug_key", "slug")):
        statement = f"ALTER TABLE public.tenants DROP CONSTRAINT {constraint} CASCADE"
        assert not unnoticed(after, spec, [("constraint", f"column {column} of the tenant table", statement)])
