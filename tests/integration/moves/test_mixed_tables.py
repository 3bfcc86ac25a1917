"""A move of a tenant with rows in mixed tables, whose rows of all tenants belong to the sentinel tenant: these are on
both sides before, and stay on both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from daily import daily
from moves.applications import Application, check, working
from moves.conftest import Pair, build, left, rows_of, spec_text
from servers import Database, Server
from tenantry import move_tenant, validate
from tenantry.errors import ExitStatus, Refused
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = [pytest.mark.server, pytest.mark.pg(">=15")]
KINDS = """
CREATE TABLE kinds (id integer PRIMARY KEY, firm_id uuid REFERENCES firms, name text);
CREATE TABLE uses (id integer PRIMARY KEY, firm_id uuid NOT NULL REFERENCES firms, kind integer REFERENCES kinds);
CREATE TABLE hints (firm_id uuid REFERENCES firms, text text);
INSERT INTO kinds VALUES (1, NULL, 'of all'), (2, NULL, 'of all, too');
INSERT INTO hints VALUES (NULL, 'of all'), (NULL, NULL);
"""
OF_TENANTS = """
INSERT INTO kinds SELECT 10 * row_number() OVER (ORDER BY slug), id, slug FROM firms;
INSERT INTO uses SELECT row_number() OVER (ORDER BY slug, number), firms.id, number
  FROM firms, unnest(ARRAY[1, 2]) number;
INSERT INTO uses SELECT 100 + id, firm_id, id FROM kinds WHERE firm_id IS NOT NULL;
INSERT INTO hints SELECT id, 'hint of ' || slug FROM firms;
"""
MIXED = """
[[table]]
name    = "kinds"
paths   = [["firm_id"]]
orphans = "shared"

[[table]]
name    = "hints"
paths   = [["firm_id"]]
orphans = "shared"

[[table]]
name  = "uses"
paths = [["firm_id"]]

[[reference]]
from    = "uses.kind"
crosses = true
"""


ALL_TABLES = ("firms", "places", "items", "moves", "notes", "kinds", "uses", "hints")
EVERYBODY = "tenantry-everybody"


def mixed(database: Database) -> None:
    build(database, more=(KINDS, OF_TENANTS), spec=spec_text() + MIXED)


def without_tenants(database: Database) -> None:
    build(database, firms=(), more=(KINDS,), spec=spec_text() + MIXED)


@pytest.fixture
def mixed_pair(template: Callable[..., Database], other_server: Server) -> Iterator[Pair]:
    source = template("mixed source", mixed)
    target = other_server.create(f"mixed_{os.getpid()}", other_server.template("mixed target", without_tenants))
    yield Pair(source=source, target=target, spec=Spec.parse(spec_text() + MIXED))
    other_server.drop(target)


def rows(database: Database, slug: str) -> dict[str, list[str]]:
    return rows_of(database, slug, tables=ALL_TABLES)


def test_there_and_back(template: Callable[..., Database], other_server: Server) -> None:
    """An empty target gets the sentinel tenant and the rows of all tenants, once; these stay on both sides. The tenant's
    rows move, those included that refer to rows of all tenants, while it writes."""
    source, target = template("mixed source", mixed), other_server.create(f"mixed_empty_{os.getpid()}")
    pair = Pair(source=source, target=target, spec=Spec.parse(spec_text() + MIXED))
    before, everybodys = rows(source, "two"), rows(source, EVERYBODY)
    assert all(before.values())
    assert [len(everybodys[name]) for name in ("kinds", "hints", "uses")] == [2, 2, 0]
    mine = [Application(pair=pair, slug="two") for _ in range(2)]
    with working(*mine):
        pair.move("two", init=True)
        assert not any(rows(source, "two").values())
        assert rows(target, EVERYBODY) == rows(source, EVERYBODY) == everybodys
        there = rows(target, "two")
        pair.move("two", back=True)
    for one in mine:
        check(one)
    for name in ("kinds", "uses", "hints", "notes"):
        assert there[name] == rows(source, "two")[name] == before[name]
    pair.move("one", init=True)
    assert rows(target, EVERYBODY) == rows(source, EVERYBODY) == everybodys, "they are copied once"
    assert left(source, target) == []
    for database in (source, target):
        verdict = validate(Target(database.dsn), pair.spec)
        assert verdict.exit_status is ExitStatus.DONE, [one for one in verdict.findings if one.severity.serious]
    other_server.drop(target)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("statement", "undo", "message"),
    daily([
        ("DELETE FROM kinds WHERE id = 2", "INSERT INTO kinds VALUES (2, DEFAULT, 'of all, too')",
         "kinds has other rows of all tenants at the target: 1 row, and 2 at the source; the first that differs has the key"),
        ("UPDATE kinds SET name = 'other' WHERE id = 1", "UPDATE kinds SET name = 'of all' WHERE id = 1",
         "kinds has other rows of all tenants at the target: 2 rows, and 2 at the source; the first that differs has the key"),
        ("INSERT INTO hints (text) VALUES ('one more')", "DELETE FROM hints WHERE text = 'one more'",
         "hints has other rows of all tenants at the target: 3 rows, and 2 at the source"),
    ]),
)  # fmt: skip
def test_rows_of_all_tenants_differ(statement: str, undo: str, message: str, mixed_pair: Pair) -> None:
    """Before the move begins, and before the switch if that happens meanwhile."""
    mixed_pair.target.execute(statement)
    with pytest.raises(Refused) as caught:
        mixed_pair.move("two")
    assert message in "\n".join((caught.value.message, *caught.value.details))
    assert left(mixed_pair.source, mixed_pair.target) == []
    mixed_pair.target.execute(undo)
    with pytest.raises(Refused) as caught:
        mixed_pair.move("two", at=[("the rows were the same", lambda: mixed_pair.target.execute(statement))])
    assert message in "\n".join((caught.value.message, *caught.value.details))
    mixed_pair.abort("two")
    assert left(mixed_pair.source, mixed_pair.target) == []


@pytest.mark.nightly
def test_before_the_phase_distribute(template: Callable[..., Database], mixed_pair: Pair) -> None:
    """Rows of all tenants without a tenant, as they are until the phase distribute: such a database is not prepared."""

    def contracted(database: Database) -> None:
        build(database, more=(KINDS, OF_TENANTS), spec=spec_text() + MIXED, until=Phase.CONTRACT)

    source = template("mixed contracted", contracted)
    with pytest.raises(Refused, match="The source is not prepared for a move"):
        move_tenant(Target(source.dsn), mixed_pair.spec, "two", Target(mixed_pair.target.dsn))
