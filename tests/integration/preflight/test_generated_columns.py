"""Generated columns in keys, as tenant columns, and where no trigger can see their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tenantry.errors import Refused, UsageError
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]

# --- a foreign key over a generated column

LABELS = """
CREATE TABLE boxes (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);
CREATE TABLE labels (id integer PRIMARY KEY, code text NOT NULL,
  box integer GENERATED ALWAYS AS (split_part(code, '-', 1)::integer) STORED REFERENCES boxes ON DELETE CASCADE);
INSERT INTO boxes SELECT n, 1 + n % 2 FROM generate_series(1, 20) n;
INSERT INTO labels SELECT n, 1 + n % 20 || '-x' FROM generate_series(1, 50) n;
"""
LABELS_TABLES = """
[[table]]
name = "boxes"
paths = [["owner"]]
[[table]]
name = "labels"
paths = [["box"]]
"""
TENANTS_OF_LABELS = (
    "SELECT count(*) FROM labels l JOIN boxes b ON b.id = l.box WHERE l.tenant_id IS DISTINCT FROM b.owner"
)


@pytest.mark.parametrize("orphans", ["", 'orphans = "default"'])
def test_the_old_application_writes_labels_until_contract(business: Business, orphans: str) -> None:
    """A label of another tenant's box is a matter of its code alone. From contract on it is refused, and whoever moves
    a box takes its labels along in the same transaction."""
    shop = business(LABELS, LABELS_TABLES + orphans, head='default = "north"')
    dump = shop.database.dump()
    for number, until in enumerate((Phase.EXPAND, Phase.BACKFILL, Phase.ENFORCE)):
        shop.migrate(until)
        shop.execute(f"""
            INSERT INTO labels VALUES ({100 + number}, '1-new'), ({200 + number}, '2-new');
            UPDATE labels SET code = '2-moved' WHERE id = {100 + number};
            UPDATE labels SET code = (20 - id % 10) || '-moved' WHERE id % 7 = {number};
            UPDATE boxes SET owner = 3 - owner WHERE id = {15 + number};
            DELETE FROM boxes WHERE id = {5 + number}
        """)
    shop.migrate(Phase.CONTRACT)
    assert shop.rows(TENANTS_OF_LABELS) == [(0,)]
    shop.refuses("UPDATE labels SET code = '3-x' WHERE id = 200", psycopg.errors.ForeignKeyViolation)
    shop.refuses("UPDATE boxes SET owner = 3 - owner WHERE id = 2", psycopg.errors.ForeignKeyViolation)
    shop.execute("UPDATE boxes SET owner = 2 WHERE id = 2; UPDATE labels SET tenant_id = 2 WHERE box = 2")
    shop.execute("DELETE FROM boxes WHERE id = 2")
    shop.rollback()
    assert shop.database.dump() == dump


def test_a_crossing_label_of_a_tenants_session_is_refused_before_contract(business: Business) -> None:
    """Only who knows no tenants may write it."""
    shop = business(LABELS, LABELS_TABLES)
    shop.migrate(Phase.ISOLATE)
    shop.refuses(
        "SET app.tenant_id = '2'; INSERT INTO labels (id, code) VALUES (100, '2-x')",
        psycopg.errors.ForeignKeyViolation,
    )
    shop.execute("SET app.tenant_id = '2'; INSERT INTO labels (id, code) VALUES (100, '1-x')")


# --- a generated tenant column

PARCELS = """
CREATE TABLE parcels (id integer PRIMARY KEY, code text NOT NULL,
  owner integer GENERATED ALWAYS AS (split_part(code, '-', 1)::integer) STORED {} REFERENCES tenants);
CREATE TABLE scans (id integer PRIMARY KEY, parcel integer NOT NULL REFERENCES parcels);
INSERT INTO parcels SELECT n, 1 + n % 2 || '-' || n FROM generate_series(1, 20) n;
INSERT INTO scans SELECT n, 1 + n % 20 FROM generate_series(1, 100) n;
"""
SHELVES = """
CREATE TABLE shelves (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);
ALTER TABLE parcels ADD shelf integer REFERENCES shelves;
"""
SHELVES_TABLES = """
[[table]]
name = "shelves"
paths = [["owner"]]
"""
PARCELS_TABLES = """
[[table]]
name = "parcels"
paths = [["owner"]]
[[table]]
name = "scans"
paths = [["parcel"]]
"""


@pytest.mark.parametrize("null", ["", "NOT NULL"])
def test_the_expression_gives_the_tenant(business: Business, null: str) -> None:
    """It needs no default, neither trigger nor fill; what refers to it follows when it changes."""
    shop = business(PARCELS.format(null), PARCELS_TABLES)
    dump = shop.database.dump()
    for until in list(Phase)[:-1]:
        shop.migrate(until)
        shop.execute(f"INSERT INTO parcels (id, code) VALUES ({100 + until.position}, '2-new')")
        shop.execute("UPDATE parcels SET code = CASE owner WHEN 1 THEN '2-x' ELSE '1-x' END WHERE id = 7")
        query = "SELECT count(*) FROM scans s JOIN parcels p ON p.id = s.parcel WHERE s.tenant_id <> p.owner"
        assert until is Phase.EXPAND or shop.rows(query) == [(0,)]
    shop.rollback()
    assert shop.database.dump() == dump


@pytest.mark.parametrize(
    "tables",
    [
        PARCELS_TABLES.replace('[["owner"]]', '[["owner"]]\norphans = "default"'),
        PARCELS_TABLES.replace('[["owner"]]', '[["owner"], ["shelf"]]') + SHELVES_TABLES,
        PARCELS_TABLES.replace('[["owner"]]', '[["owner"]]\nchildren = ["scans.parcel"]'),
    ],
    ids=["default", "paths", "children"],
)
def test_no_fill_can_give_another(business: Business, tables: str) -> None:
    """What only a fill could do is refused with the spec."""
    shop = business(PARCELS.format("") + SHELVES, tables, head='default = "north"')
    with pytest.raises(UsageError, match="owner is a generated column"):
        shop.migrate(Phase.EXPAND)


# --- what no trigger sees

SLIPS = """
CREATE TABLE slips (id integer PRIMARY KEY, code text, firm text GENERATED ALWAYS AS (lower(code)) STORED);
INSERT INTO slips VALUES (1, 'NORTH');
"""


@pytest.mark.parametrize(
    ("assign", "error"),
    [
        ('{ column = "firm" }', UsageError),
        ('{ sql = "slips.firm" }', Refused),
        ("{ sql = \"CASE WHEN \\\"firm\\\" = 'north' THEN 'north' END\" }", Refused),
    ],
)
def test_a_text_from_a_generated_column(business: Business, assign: str, error: type[Exception]) -> None:
    """New rows would get no tenant, or the default one."""
    tables = f'[[table]]\nname = "slips"\nassign = {assign}\norphans = "default"'
    shop = business(SLIPS, tables, head='default = "north"')
    with pytest.raises(error, match="generated column"):
        shop.migrate(Phase.EXPAND)
    assert shop.rows("SELECT to_regnamespace('tenantry')") == [(None,)]


def test_a_text_that_only_mentions_its_name(business: Business) -> None:
    """The base column, and a string."""
    shop = business(
        SLIPS, """[[table]]\nname = "slips"\nassign = { sql = "CASE WHEN 'firm' > '' THEN lower(code) END" }"""
    )
    shop.migrate(Phase.CONTRACT)
    assert shop.rows("SELECT tenant_id FROM slips") == [(1,)]


@pytest.mark.pg(">= 18")
@pytest.mark.parametrize(
    "tables",
    [
        '[[table]]\nname = "notes"\npaths = [["owner"]]',
        '[[table]]\nname = "notes"\npaths = [["box"]]\n[[reference]]\nchild = "notes.box"\nparent = "boxes.id"',
    ],
    ids=["tenant", "reference"],
)
def test_a_virtual_column_is_no_key(business: Business, tables: str) -> None:
    """Neither index nor foreign key nor trigger can have it."""
    schema = (
        LABELS
        + """
        CREATE TABLE notes (id integer PRIMARY KEY, code integer,
          owner integer GENERATED ALWAYS AS (code / 10) VIRTUAL, box integer GENERATED ALWAYS AS (code % 10) VIRTUAL)
    """
    )
    shop = business(schema, LABELS_TABLES + tables)
    with pytest.raises(UsageError) as refused:
        shop.migrate(Phase.EXPAND)
    error = refused.value
    said = " ".join((error.message, error.remedy, *error.details))
    assert "virtual generated column" in said
    assert "STORED" in said
