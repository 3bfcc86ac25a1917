"""Pairs of databases, as on two servers, between which tenants move."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from servers import Database, Server, make_server
from tenantry import (
    MigrateOptions,
    MoveAborted,
    MoveOptions,
    TenantMoved,
    abort_move,
    migrate,
    move_tenant,
)
from tenantry.execution.events import Event
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

_numbers = itertools.count(1)
HERE = Path(__file__).parent
APPLICATION = "tenant_moves_app"
"""The application role of all copies of a template, which stays as long as that does."""
TABLES = ("firms", "places", "items", "moves", "notes")
FIRMS = ("one", "two", "three")


def spec_text() -> str:
    return (HERE / "depots.toml").read_text().replace("ROLE", APPLICATION)


def build(
    database: Database, *, rows: int = 40, firms: tuple[str, ...] = FIRMS, owner: str = "postgres",
    operator: str = "postgres", more: Sequence[str] = (), spec: str | None = None,
    until: Phase = Phase.DISTRIBUTE,
) -> None:  # fmt: skip
    """Migrate a database with these tenants, each with `rows` items, through distribute; the tables belong to the
    owner. `more` is executed before that, `spec` is the text of another spec."""
    database.execute(f"SET ROLE {owner}; " + (HERE / "depots.sql").read_text())
    for firm in firms:
        database.execute("INSERT INTO firms (slug, host) VALUES (%s, %s || '.example')", [firm, firm])
    database.execute(
        f"""
INSERT INTO places (firm_id, code) SELECT f.id, f.slug || ' ' || n FROM firms f, generate_series(1, 4) n ORDER BY n, f.slug;
UPDATE places SET inside = id - {len(firms)} WHERE id > {len(firms)};
INSERT INTO items (place_id, unit, note, document, feeling)
  SELECT p.id, 'kg', repeat('n', n), jsonb_build_object('n', n), 'high' FROM places p, generate_series(1, {rows // 4}) n
  ORDER BY n, p.id;
INSERT INTO moves SELECT i.id, timestamptz '2026-01-01 00:00Z' + n * interval '1 hour', n FROM items i, generate_series(1, 2) n;
INSERT INTO notes SELECT p.id, CASE WHEN n > 1 THEN 'note ' || n END FROM places p, generate_series(1, 3) n
"""
        if firms
        else "SELECT"
    )
    for script in more:
        database.execute(script)
    prepare = until is Phase.DISTRIBUTE
    options = MigrateOptions(until=until, prepare=prepare, force=True, backup=BackupKind.NONE)
    migrate(Target(f"{database.dsn} user={operator}"), Spec.parse(spec or spec_text()), options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two databases: the first has tenants, the second none."""

    source: Database
    target: Database
    spec: Spec

    def move(
        self, slug: str, *, back: bool = False, at: Sequence[tuple[str, Callable[[], object]]] = (), **options: Any
    ) -> TenantMoved:
        """`at`: what is to be done when the run first tells of something, in which this text occurs, in this order."""
        here, there = (self.target, self.source) if back else (self.source, self.target)
        due = list(at)

        def observe(event: Event) -> None:
            if due and due[0][0] in str(event):
                _, act = due.pop(0)
                act()

        result = move_tenant(
            Target(here.dsn), self.spec, slug, Target(there.dsn), MoveOptions(**options), observer=observe
        )  # fmt: skip
        assert due == []
        return result

    def abort(self, slug: str) -> MoveAborted:
        return abort_move(Target(self.source.dsn), self.spec, slug, Target(self.target.dsn))


def rows_of(
    database: Database, slug: str, *, but: bool = False, tables: Sequence[str] = TABLES
) -> dict[str, list[str]]:
    """The rows of a tenant as text, by table, in order; `but`: those of all others."""
    found = {}
    with database.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in tables:
            column = "id" if table == "firms" else "firm_id"
            query = f"SELECT t::text FROM {table} t WHERE {'NOT' if but else ''} {column} = (SELECT id FROM firms WHERE slug = %s) ORDER BY 1"
            if but:
                query = query.replace("(SELECT", "coalesce((SELECT").replace(
                    "slug = %s)", "slug = %s), gen_random_uuid())"
                )
            found[table] = [row for (row,) in connection.execute(query, [slug])]
    return found


COMPARING = "are compared next"
"""What a run tells before its first pause, when all is copied."""
LEFT = """
SELECT 'publication ' || pubname FROM pg_publication
UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database()
UNION ALL SELECT 'subscription ' || subname FROM pg_subscription
  WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgname LIKE '%move%' AND NOT tgisinternal
UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'tenantry'::regnamespace AND proname LIKE 'move%'
UNION ALL SELECT 'relation ' || relname FROM pg_class WHERE relnamespace = 'tenantry'::regnamespace AND relname LIKE '%move\\_%'
UNION ALL SELECT 'identity of ' || relname FROM pg_class WHERE relreplident <> 'd' AND relnamespace = 'public'::regnamespace
  AND relkind = 'r'
"""
"""Whatever a move has made."""


def left(*databases: Database) -> list[str]:
    return [text for database in databases for (text,) in database.rows(LEFT)]


@pytest.fixture(scope="session")
def other_server(server_version: int, run_folder: Path) -> Iterator[Server]:
    """The server to which tenants move."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    server = make_server(
        server_version, run_folder / f"{worker}-{server_version}-other", {"autovacuum": "off"}, shared=True
    )
    yield server
    server.close()


def empty(database: Database) -> None:
    build(database, firms=())


@pytest.fixture
def pair(template: Callable[..., Database], other_server: Server) -> Iterator[Pair]:
    """A database with tenants, and one without any on another server."""
    source = template("moves source", build)
    target = other_server.create(f"target_{os.getpid()}_{next(_numbers)}", other_server.template("moves target", empty))
    yield Pair(source=source, target=target, spec=Spec.parse(spec_text()))
    other_server.drop(target)
