"""Tenants that the spec declares, so that an expression may say their names before anybody could have added them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback, validate
from tenantry.errors import Refused, UsageError
from tenantry.model.finding import Severity
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

SITES = """
CREATE TABLE sites (id int PRIMARY KEY);
INSERT INTO sites SELECT generate_series(1, 4);
"""
ASSIGN = """
[[table]]
name = "sites"
assign = { sql = "CASE WHEN id % 2 = 0 THEN 'south' ELSE 'north' END" }
"""
ROWS = """
[[tenant.rows]]
slug = "north"
name = "North & Sons"
[[tenant.rows]]
slug = "south"
"""


def spec_of(folder: Path, rows: str, role: str, head: str = "create = true") -> Spec:
    path = folder / "tenantry.toml"
    path.write_text(f'[tenant]\ntable = "tenants"\n{head}\n{rows}\n[application]\nrole = "{role}"\n{ASSIGN}')
    return Spec.read(path)


@pytest.mark.parametrize("way", ["rows", "csv"])
def test_an_expression_names_them(database: Database, role: Callable[..., str], tmp_path: Path, way: str) -> None:
    """expand makes them with the table, and all rows find theirs; validate finds nothing; rollback is exact."""
    database.execute(SITES)
    before = database.dump()
    (tmp_path / "firms.csv").write_text("slug,name\nnorth,North & Sons\nsouth,\n")
    spec = (
        spec_of(tmp_path, ROWS, role(create=False))
        if way == "rows"
        else spec_of(tmp_path, 'csv = "firms.csv"', role(create=False))
    )
    target = Target(database.dsn)
    migrate(target, spec, MigrateOptions(until=Phase.ISOLATE))
    assert database.rows("SELECT slug, name FROM tenants ORDER BY 1") == [("north", "North & Sons"), ("south", "south")]
    assert database.rows("SELECT s.id, t.slug FROM sites s JOIN tenants t ON t.id = s.tenant_id ORDER BY 1") == [
        (1, "north"), (2, "south"), (3, "north"), (4, "south"),
    ]  # fmt: skip
    assert not [one for one in validate(target, spec).findings if one.severity is not Severity.INFO]
    rollback(target, RollbackOptions())
    assert database.dump() == before
    assert database.rows("SELECT id FROM sites ORDER BY 1") == [(1,), (2,), (3,), (4,)]


def test_one_that_is_missing(database: Database, role: Callable[..., str], tmp_path: Path) -> None:
    """The rows that would be its are refused, and nothing is changed; the refusal says where to write it."""
    database.execute(SITES)
    spec = spec_of(tmp_path, '[[tenant.rows]]\nslug = "north"', role(create=False))
    with pytest.raises(Refused, match="2 orphans") as refusal:
        migrate(Target(database.dsn), spec, MigrateOptions(until=Phase.EXPAND))
    assert "[[tenant.rows]]" in refusal.value.remedy
    assert database.rows("SELECT to_regclass('tenants') IS NULL") == [(True,)]


def test_in_a_tenant_table_that_is_there(business: Callable[..., Any]) -> None:
    """It is added with its name and key, those that are there stay as they are; rollback takes it away, unless a row of the
    user's has come to need it."""
    shop = business(
        "CREATE TABLE visits (tenant text NOT NULL REFERENCES tenants);" + SITES, ASSIGN + '[[table]]\nname = "visits"\n'
        'paths = [["tenant"]]',
        tenants="CREATE TABLE tenants (id text PRIMARY KEY, slug text UNIQUE NOT NULL, nome text, title text NOT NULL);"
        "INSERT INTO tenants VALUES ('1', 'north', NULL, 'first');",
        head=ROWS,
    )  # fmt: skip
    before = shop.rows("SELECT * FROM tenants")
    for used in (False, True):
        shop.migrate(Phase.CONTRACT)
        assert shop.rows("SELECT * FROM tenants ORDER BY 1") == [*before, ("south", "south", None, "south")]
        shop.execute("INSERT INTO visits VALUES ('south')" if used else "SELECT")
        shop.rollback()
        assert len(shop.rows("SELECT * FROM tenants")) == 1 + used


@pytest.mark.parametrize(
    ("rows", "text", "message"),
    [
        ('[[tenant.rows]]\nslug = " north"', "", r"tenant\] rows number 1 slug: this must be a short name"),
        (ROWS + '[[tenant.rows]]\nslug = "south"', "", "two of the rows have the slug 'south'"),
        ('csv = "none.csv"', "", r"cannot read .*none.csv"),
        ('csv = "firms.csv"', "slug,nome\nnorth,x\n", "the header of .* must be slug, or slug and name"),
        ('csv = "firms.csv"', "slug\nnorth\nnorth\n", "line 3 of .*: the slug 'north' occurs twice"),
        ('csv = "firms.csv"', "slug,name\nnorth\n", "line 2 of .* has fewer values"),
        ('csv = "firms.csv"', "slug\n north\n", "line 2 of .*: ' north' is not a valid slug"),
        ('csv = "firms.csv"', "slug\n\0\n", "is not a valid slug|is not CSV"),
    ],
)
def test_what_cannot_be_read(database: Database, tmp_path: Path, rows: str, text: str, message: str) -> None:
    database.execute(SITES)
    (tmp_path / "firms.csv").write_text(text)
    with pytest.raises(UsageError) as error:
        migrate(Target(database.dsn), spec_of(tmp_path, rows, "nobody"), MigrateOptions(until=Phase.EXPAND))
    assert re.search(message, error.value.message), error.value.message
    assert database.rows("SELECT to_regnamespace('tenantry') IS NULL") == [(True,)]


def test_a_name_with_no_column_for_it(business: Callable[..., Any]) -> None:
    shop = business(SITES, ASSIGN, head=ROWS)
    with pytest.raises(UsageError, match="has no column for a tenant's name"):
        shop.migrate(Phase.EXPAND)
