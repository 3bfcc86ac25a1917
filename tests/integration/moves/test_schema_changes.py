"""A change of the schema on one side while a tenant is being moved: the move stops with a sentence that names the table
and what to do, and goes on once both sides are the same again. No value is lost."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from daily import daily, nightly
from moves.conftest import Pair, left, rows_of
from tenantry import list_moves
from tenantry.errors import Failed, Refused, TenantryError
from tenantry.postgres.connect import Target

pytestmark = [pytest.mark.server, pytest.mark.pg(">=15")]
MINE = "firm_id = (SELECT id FROM firms WHERE slug = 'two')"
COPIES = "the copy begins"
COMPARED = "the rows were the same"
"""What a run tells between the comparison of all rows and the last pause."""
ADD = "ALTER TABLE items ADD COLUMN extra integer DEFAULT 7"
CHANGES = {
    ADD: ("public.items.extra integer", "ALTER TABLE items DROP COLUMN extra"),
    f"{ADD} NOT NULL": ("public.items.extra integer NOT NULL", "ALTER TABLE items DROP COLUMN extra"),
    "ALTER TABLE items ALTER COLUMN note TYPE varchar(200)": (
        "public.items.note character varying(200)", "ALTER TABLE items ALTER COLUMN note TYPE text",
    ),
    "ALTER TABLE items ALTER COLUMN id TYPE numeric": (
        "public.items.id numeric", "ALTER TABLE items ALTER COLUMN id TYPE bigint",
    ),
    "ALTER TABLE items RENAME COLUMN note TO remark": (
        "public.items.remark text", "ALTER TABLE items RENAME COLUMN remark TO note",
    ),
    "ALTER TABLE items DROP COLUMN document": (
        "public.items.document jsonb", "ALTER TABLE items ADD COLUMN document jsonb",
    ),
    "ALTER TABLE moves RENAME TO postings": ("has no table public.moves any more", "ALTER TABLE postings RENAME TO moves"),
}  # fmt: skip
CASES = [(statement, when, write) for statement in CHANGES for when in (COMPARED, COPIES) for write in (False, True)]
WRITES = f"UPDATE items SET feeling = 'low' WHERE {MINE}"


def said(error: TenantryError) -> str:
    return "\n".join((error.message, *error.details, error.remedy))


def stopped(pair: Pair, **options: Any) -> str:
    with pytest.raises(Refused) as caught:
        pair.move("two", **options)
    assert [one.state for one in list_moves(Target(pair.source.dsn))] == ["begun"]
    return said(caught.value)


@pytest.mark.parametrize(("statement", "when", "write"), daily(CASES))
def test_at_the_source(statement: str, when: str, write: bool, pair: Pair) -> None:
    """Before the last pause at the latest, whether rows are written after the change or not. The target gets the same
    change."""
    message, undo = CHANGES[statement]
    change = "; ".join([statement, *([WRITES] if write else [])])
    assert message in stopped(pair, at=[(when, partial(pair.source.execute, change))])
    pair.target.execute(statement)
    if "postings" in statement:
        # The spec names the table as it was.
        pair.source.execute(undo)
        pair.target.execute(undo)
    before = rows_of(pair.source, "two")
    pair.move("two")
    assert rows_of(pair.target, "two") == before
    assert left(pair.source, pair.target) == []


@pytest.mark.parametrize(("statement", "when", "write"), list(map(nightly, CASES)))
def test_at_the_target(statement: str, when: str, write: bool, pair: Pair) -> None:
    """The change is undone there."""
    message, undo = CHANGES[statement]

    def change() -> None:
        pair.target.execute(statement)
        if write:
            pair.source.execute(WRITES)

    assert message in stopped(pair, at=[(when, change)])
    pair.target.execute(undo)
    before = rows_of(pair.source, "two")
    if "DROP" in statement:
        # The rows that were copied before have no value now.
        pair.abort("two")
    pair.move("two")
    assert rows_of(pair.source, "two")["items"] == []
    assert [len(rows) for rows in rows_of(pair.target, "two").values()] == [len(rows) for rows in before.values()]
    assert left(pair.source, pair.target) == []


def test_values_that_are_not_replicated(pair: Pair) -> None:
    """A column that both sides have by now, with values that only the source has, since its change has rewritten the
    table: no row changed for replication."""
    column = "ALTER TABLE items ADD COLUMN chosen integer DEFAULT (random() * 1e9)::integer"

    def change() -> None:
        for database in (pair.source, pair.target):
            database.execute(column)

    assert "has the column public.items.chosen integer" in stopped(pair, at=[(COMPARED, change)])
    said_by = r"public\.items has 40 rows of the tenant at the target, and 40 at the source, with other values"
    with pytest.raises(Failed, match=said_by):
        pair.move("two")
    pair.abort("two")
    assert left(pair.source, pair.target) == []


def test_columns_in_another_order(pair: Pair) -> None:
    """Rows are compared by the names of their columns."""
    pair.source.execute("ALTER TABLE items ADD COLUMN a integer, ADD COLUMN b text DEFAULT 'b'")
    pair.target.execute("ALTER TABLE items ADD COLUMN b text DEFAULT 'b', ADD COLUMN a integer")
    pair.source.execute("ALTER TABLE units ADD COLUMN a integer, ADD COLUMN b text DEFAULT 'b'")
    pair.target.execute("ALTER TABLE units ADD COLUMN b text DEFAULT 'b', ADD COLUMN a integer")
    pair.move("two")
    assert pair.target.rows("SELECT count(*) FROM items WHERE b = 'b'") == [(40,)]


def test_a_table_comes_to_refer_to_the_rows(pair: Pair) -> None:
    """Rows of a new table would be left behind: that is noticed, also right before the switch."""
    table = (
        "CREATE TABLE referring (item bigint, firm_id uuid, FOREIGN KEY (firm_id, item) REFERENCES items (firm_id, id));"
        " INSERT INTO referring SELECT id, firm_id FROM items"
    )
    assert "of public.referring" in stopped(pair, at=[(COMPARED, partial(pair.source.execute, table))])
    assert "of public.referring" in stopped(pair)
    pair.source.execute("DROP TABLE referring")
    pair.move("two")
    assert left(pair.source, pair.target) == []
