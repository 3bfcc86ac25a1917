"""A shop that follows random specs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from servers import Database, Server
from spec_changes.conftest import ROLES, SOURCE, followed
from spec_changes.random_specs import Business, Change, Wanted, changes_of_specs
from tenantry import MigrateOptions, RollbackOptions, preview, rollback
from tenantry.errors import ExitStatus, Refused, UsageError
from tenantry.model import plan
from tenantry.model.backup import BackupKind
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.postgres.schema_snapshot import describe

COLUMNS = """
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum), array_agg(k.conname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'n' AND k.conkey[1] = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') GROUP BY 1 ORDER BY 1
"""
"""In their order, with the names of their NOT NULLs."""


OURS = f"""
SELECT p.proname, {SOURCE}, p.proconfig::text, p.proacl::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'tenantry'
UNION ALL SELECT c.relname, '', '', c.relacl::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'tenantry' AND c.relname LIKE '%\\_\\_%' AND c.relkind = 'r' ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is there: what pg_dump would show, object by object, columns, functions of ours, and the rows, each with its
    tenant's slug."""

    schema: frozenset[Any]
    columns: list[tuple[Any, ...]]
    ours: list[tuple[Any, ...]]
    rows: dict[str, list[str]]

    def assert_same(self, other: Snapshot) -> None:
        """The objects that differ are told first."""
        assert sorted(self.schema ^ other.schema) == []
        assert self == other


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """One database, made anew for each example: its schemas are dropped, which is faster than a copy; and a session that
    knows its catalog."""

    database: Database
    session: psycopg.Connection[Any]

    @property
    def target(self) -> Target:
        return Target(self.database.dsn)

    def make(self, business: Business) -> None:
        """The tables of a business, and nothing else."""
        self.session.execute(
            "DROP SCHEMA IF EXISTS tenantry CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
            + business.script
        )

    def snapshot(self) -> Snapshot:
        slugs = dict(self.session.execute("SELECT id, slug FROM tenants").fetchall())
        columns = self.session.execute(COLUMNS).fetchall()
        rows = {}
        for table, names, _ in columns:
            keys = {"id"} if table == "tenants" else {"tenant_id", "org"}
            found = self.session.execute(f'SELECT * FROM "{table}"').fetchall()
            rows[table] = sorted(
                repr(
                    [slugs.get(value, value) if name in keys else value for name, value in zip(names, row, strict=True)]
                )
                for row in found
            )
        return Snapshot(
            schema=frozenset((name, one.relation, one.definition) for name, one in describe(self.session).items()),
            columns=columns, ours=self.session.execute(OURS).fetchall(), rows=rows,
        )  # fmt: skip

    def migrate(self, wanted: Wanted, until: plan.Phase) -> Refused | UsageError | None:
        """None, or why not; then nothing has changed, and a dry run says the same."""
        before, spec = self.snapshot(), Spec.parse(wanted.text(ROLES))
        refusal = refused_by(lambda: followed(self.database, spec, until, force=True))
        if refusal is not None:
            self.snapshot().assert_same(before)
        if isinstance(refusal, Refused):
            dry = preview(self.target, spec, MigrateOptions(until=until, backup=BackupKind.NONE, force=True))
            assert dry.refusal is not None
            assert (dry.exit_status, dry.refusal.message) == (ExitStatus.REFUSED, refusal.message)
        return refusal

    def rollback(self, *tables: str) -> None:
        result = rollback(self.target, RollbackOptions(backup=BackupKind.NONE, tables=tables))
        assert tables or result.exit_status is ExitStatus.DONE, result.findings


def refused_by(run: Callable[[], object]) -> Refused | UsageError | None:
    """Why a run was refused, None where it was not."""
    try:
        run()
    except (Refused, UsageError) as refusal:
        return refusal
    return None


@pytest.fixture
def shop(server: Server, new_database: Callable[..., Database]) -> Iterator[Shop]:
    for role in ROLES.values():
        server.execute(f"DO $$ BEGIN IF to_regrole('{role}') IS NULL THEN CREATE ROLE {role} NOLOGIN; END IF; END $$")
    database = new_database()
    # A statement is planned anew each time: what it names is another table by then.
    with database.connect(autocommit=True, prepare_threshold=None) as session:
        yield Shop(database=database, session=session)


def follow(shop: Shop, change: Change) -> None:
    """From one spec to another, by the way that a refusal names, if any; and back to where it all began."""
    shop.make(change.business)
    original = shop.snapshot()
    if shop.migrate(change.before, change.first) is not None:
        return
    refusal, tries = shop.migrate(change.after, change.second), 0
    while refusal is not None and (tables := named(refusal)):
        tries += 1
        assert tries < 5, f"the remedy is none: {refusal.message} {refusal.remedy}"
        shop.rollback(*tables)
        refusal = shop.migrate(change.after, change.second)
    followed = shop.snapshot()
    shop.rollback()
    back = shop.snapshot()
    back.assert_same(original)
    if refusal is None:
        shop.make(change.business)
        refused = shop.migrate(change.after, change.second)
        assert refused is None, f"a fresh one is refused: {refused}"
        shop.snapshot().assert_same(followed)


def named(refusal: Refused | UsageError) -> tuple[str, ...]:
    """The tables that are to be rolled back first."""
    return tuple(dict.fromkeys(re.findall(r"--table ([\w.]+)", " ".join((refusal.remedy, *refusal.details)))))


def follow_many(shop: Shop, number: int, examples: int) -> None:
    """So many examples, the same ones each time for the same number."""

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(change=changes_of_specs())
    def follows(change: Change) -> None:
        follow(shop, change)

    follows()
