"""A foreign key that PostgreSQL does not enforce gets none beside it that it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tenantry.errors import Refused
from tenantry.model.plan import Phase

pytestmark = [pytest.mark.server, pytest.mark.pg(">= 18")]

Business = Callable[..., Any]
NOTES = """
CREATE TABLE boxes (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);
CREATE TABLE notes (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants,
  box integer REFERENCES boxes NOT ENFORCED);
INSERT INTO boxes SELECT n, 1 + n % 2 FROM generate_series(1, 20) n;
INSERT INTO notes SELECT n, 1 + n % 2, 1 + n % 20 FROM generate_series(1, 40) n;
"""
BOXES = """
[[table]]
name = "boxes"
paths = [["owner"]]
"""
BESIDE = (
    BOXES
    + """
[[table]]
name = "notes"
paths = [["owner"]]
"""
)
PATH = (
    BOXES
    + """
[[table]]
name = "notes"
paths = [["box"]]
column = "tenant"
orphans = "shared"
"""
)
KEYS = "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = 'notes'::regclass AND confrelid = 'boxes'::regclass"


@pytest.mark.parametrize("mixed", ["", 'orphans = "shared"'])
def test_a_reference_that_may_lead_nowhere(business: Business, mixed: str) -> None:
    """To a row that is not there, or another tenant's, before and after every phase."""
    schema = NOTES.replace("owner integer NOT NULL REFERENCES tenants);", "owner integer REFERENCES tenants);", 1)
    shop = business(schema if mixed else NOTES, BESIDE.replace('[["owner"]]', f'[["owner"]]\n{mixed}', 1))
    shop.execute("UPDATE notes SET box = 999 WHERE id = 1; UPDATE notes SET box = 3 - owner WHERE id = 2")
    dump = shop.database.dump()
    for until in list(Phase)[:-1]:
        shop.migrate(until)
        shop.execute(f"UPDATE notes SET box = 900 + {until.position}; UPDATE notes SET box = 2 - id % 2")
        shop.execute(f"INSERT INTO notes VALUES ({100 + until.position}, 1, 5000), ({200 + until.position}, 1, 1)")
    assert shop.rows(KEYS) == [("notes_box_fkey",)]
    shop.rollback()
    assert shop.database.dump() == dump


def test_a_path_along_it(business: Business) -> None:
    """Rows whose box is not there are shared, as the spec says of those that no path reaches."""
    shop = business(NOTES, PATH)
    shop.execute("UPDATE notes SET box = 999 WHERE id = 1")
    for until in list(Phase)[:-1]:
        shop.migrate(until)
        if until.position < Phase.ISOLATE.position:
            shop.execute(f"INSERT INTO notes VALUES ({100 + until.position}, 1, 5000), ({200 + until.position}, 1, 2)")
    assert shop.rows("SELECT tenant FROM notes WHERE id IN (1, 100, 200) ORDER BY id") == [(None,), (None,), (1,)]
    assert shop.rows(KEYS) == [("notes_box_fkey",)]


def test_once_it_is_enforced_it_gets_one(business: Business) -> None:
    """The plan of the next run has it; what is in its way is named before anything is changed."""
    shop = business(NOTES, BESIDE)
    shop.migrate(Phase.ENFORCE)
    shop.execute("UPDATE notes SET box = 3 - owner WHERE id = 2")
    shop.execute("ALTER TABLE notes ALTER CONSTRAINT notes_box_fkey ENFORCED")
    with pytest.raises(Refused, match=r"public\.notes"):
        shop.migrate(Phase.ENFORCE)
    assert shop.rows(KEYS) == [("notes_box_fkey",)]
    shop.execute("UPDATE notes SET box = 2 - (owner - 1)")
    shop.migrate(Phase.ENFORCE)
    assert len(shop.rows(KEYS)) == 2
