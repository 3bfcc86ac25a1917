"""The rows of both sides are compared while the tenant writes; what is written meanwhile is compared once more, by its
keys, and only that within a pause."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daily import daily
from moves.conftest import COMPARING, Pair, left
from servers import wait_until
from tenantry import list_moves
from tenantry.errors import Failed, Refused
from tenantry.postgres.connect import Target
from tenantry.tenants.move_comparison import Comparison

pytestmark = [pytest.mark.server, pytest.mark.pg(">=15")]
COMPARES = "and all rows are compared"
"""What a run tells right after the first pause."""
MINE = "firm_id = (SELECT id FROM firms WHERE slug = 'two')"


def run(pair: Pair, statement: str, *, there: bool = False) -> Callable[[], None]:
    """Executes a statement at the source, or `there`, at the target."""
    database = pair.target if there else pair.source
    return lambda: database.execute(statement)


WRITTEN = [
    f"UPDATE items SET note = 'meanwhile' WHERE {MINE}",
    f"DELETE FROM moves WHERE {MINE} AND quantity = 1",
    f"INSERT INTO items (place_id, unit, firm_id) SELECT min(id), 'm', firm_id FROM places WHERE {MINE} GROUP BY 3",
    f"UPDATE moves SET at = at + interval '1 day' WHERE {MINE}",
    f"UPDATE notes SET text = 'meanwhile' WHERE {MINE}",
]


@pytest.mark.differs
def test_what_is_written_meanwhile_is_compared(pair: Pair) -> None:
    """Rows of tables with keys by these, those of a table without one as a whole; also when a session writes values as
    text in another way."""
    odd = "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Kolkata'; SET extra_float_digits = -15; "
    pair.move("two", at=[(COMPARES, run(pair, odd + "; ".join(WRITTEN)))])
    assert left(pair.source, pair.target) == []
    there = pair.target.rows("SELECT count(*), count(*) FILTER (WHERE note = 'meanwhile') FROM items")
    assert there == [(41, 40)]
    assert pair.target.rows("SELECT count(*), min(at)::date::text FROM moves") == [(40, "2026-01-02")]


CHANGED_AT_TARGET = {
    # Rows that the source writes as well are compared by their keys.
    f"UPDATE items SET document = '0' WHERE {MINE}": "public.items has 40 rows at the target of those that were written"
    " while rows were compared, and 40 at the source, with other values",
    f"DELETE FROM moves WHERE {MINE}": "public.moves has 0 rows at the target of those that were written while rows"
    " were compared, and 80 at the source",
    # This one has no key.
    f"DELETE FROM notes WHERE {MINE}": "public.notes has 0 rows of the tenant at the target, and 12 at the source",
}


@pytest.mark.nightly
@pytest.mark.parametrize("statement", CHANGED_AT_TARGET)
def test_rows_that_differ(statement: str, pair: Pair) -> None:
    """A change at the target is found: when all rows are compared, or if the source writes the same rows meanwhile."""
    with pytest.raises(Failed, match="The rows at the target are not those at the source"):
        pair.move("two", at=[(COMPARING, run(pair, statement, there=True))])
    pair.abort("two")

    def write() -> None:
        pair.source.execute("; ".join(WRITTEN[:1] + WRITTEN[3:]))
        wait_until(lambda: pair.target.rows("SELECT DISTINCT text FROM notes") == [("meanwhile",)])
        pair.target.execute(statement)

    with pytest.raises(Failed) as caught:
        pair.move("two", at=[(COMPARES, write)])
    assert CHANGED_AT_TARGET[statement] in "\n".join((caught.value.message, *caught.value.details))
    pair.abort("two")
    assert left(pair.source, pair.target) == []


@pytest.mark.parametrize(
    ("statement", "table"),
    daily([
        (f"UPDATE items SET note = 'at the target' WHERE {MINE}", "items"),
        ("INSERT INTO notes (text, firm_id) SELECT 'at the target', id FROM firms WHERE slug = 'two'", "notes"),
        (f"DELETE FROM moves WHERE {MINE}", "moves"),
    ]),
)  # fmt: skip
def test_writes_at_the_target_alone(statement: str, table: str, pair: Pair) -> None:
    """They are found up to the last pause, though all rows were compared before, and the source does not write them."""
    same = f"UPDATE {table} SET firm_id = firm_id WHERE {MINE}"
    with pytest.raises(Failed, match=rf"public\.{table} has"):
        pair.move("two", at=[("the rows were the same", run(pair, statement, there=True))])
    assert pair.abort("two").rows > 50
    pair.move("two", at=[("the rows were the same", run(pair, same, there=True))])
    assert left(pair.source, pair.target) == []


@pytest.mark.nightly
@pytest.mark.parametrize("there", [False, True])
def test_a_table_is_emptied_meanwhile(there: bool, pair: Pair) -> None:
    """TRUNCATE, also where it fires no trigger, makes all rows be compared again."""

    def empty() -> None:
        with (pair.target if there else pair.source).connect(autocommit=True) as session:
            session.execute("SET lock_timeout = '10s'")
            name = list_moves(Target(pair.source.dsn))[0].object_name
            session.execute("ALTER TABLE notes DISABLE TRIGGER USER")
            session.execute("TRUNCATE notes")
            for event in ("insert", "update", "delete", "truncate"):
                mode = "" if there else "ALWAYS"
                session.execute(f'ALTER TABLE notes ENABLE {mode} TRIGGER "~{name}_{event}"')

    rows = (0, 12) if there else (12, 0)
    said = f"notes has {rows[0]} rows? of the tenant at the target, and {rows[1]} at the source"
    with pytest.raises(Failed, match=said):
        # Between two pauses: while rows are compared, their tables are locked.
        pair.move("two", at=[(COMPARES, run(pair, WRITTEN[0])), ("the rows were the same", empty)])
    pair.abort("two")
    assert left(pair.source, pair.target) == []


def test_rounds(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """If much is written meanwhile, that is compared outside of the pause, and what was written during that within it."""
    monkeypatch.setattr("tenantry.tenants.move_comparison.SECONDS_PER_KEY", 0.03)
    write = run(pair, f"UPDATE items SET feeling = 'low' WHERE {MINE}")
    done = pair.move("two", at=[(COMPARES, write), ("the rows written meanwhile are compared", run(pair, WRITTEN[0]))])
    assert done.pauses == 3
    assert pair.target.rows("SELECT DISTINCT note, feeling FROM items") == [("meanwhile", "low")]
    assert left(pair.source, pair.target) == []


@pytest.mark.nightly
def test_a_table_without_a_key_that_takes_too_long(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is compared as a whole in the last pause, but only if it was written to; that it takes too long is said before
    writes are refused for it."""
    compare = Comparison.compare

    def slow(self: Comparison) -> list[str]:
        found = compare(self)
        self.seconds = dict.fromkeys(self.seconds, 4.0)
        return found

    monkeypatch.setattr(Comparison, "compare", slow)
    written = run(pair, f"UPDATE notes SET text = 'meanwhile' WHERE {MINE}")
    with pytest.raises(Refused, match=r"public\.notes has no unique key with the tenant, and was written to") as caught:
        pair.move("two", at=[(COMPARES, written)])
    assert "--max-pause 12s" in caught.value.remedy
    assert [(one.state, one.pauses) for one in list_moves(Target(pair.source.dsn))] == [("begun", 1)]
    pair.move("two", at=[(COMPARES, run(pair, WRITTEN[0]))])
    assert left(pair.source, pair.target) == []
