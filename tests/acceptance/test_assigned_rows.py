"""Owners that only a CSV file knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acceptance.round_trip import there_and_back
from operator_runs import operated
from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.errors import UsageError
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server

SCHEMA = """
CREATE TABLE store (region text, number int, name text, PRIMARY KEY (region, number));
CREATE TABLE sale (id int PRIMARY KEY, region text NOT NULL, number int NOT NULL,
  FOREIGN KEY (region, number) REFERENCES store);
INSERT INTO store SELECT r, n, r || n FROM unnest(ARRAY['north', 'so,"uth']) r, generate_series(1, 5) n;
INSERT INTO sale SELECT row_number() OVER (), region, number FROM store, generate_series(1, 10);
"""
SPEC = """
[tenant]
table = "tenants"
create = true
[application]
role = "{role}"
[[table]]
name = "store"
assign = {{ csv = "stores.csv" }}
[[table]]
name = "sale"
paths = [[["region", "number"]]]
"""


def written(folder: Path, lines: str, role: str) -> Spec:
    (folder / "stores.csv").write_text(lines, encoding="utf-8")
    (folder / "tenantry.toml").write_text(SPEC.format(role=role), encoding="utf-8")
    return Spec.read(folder / "tenantry.toml")


def test_rows_get_the_tenants_that_the_file_names(database: Database, role: Callable[..., str], tmp_path: Path) -> None:
    """The tenants are made as well, as the tenant table is; and all of it goes again."""
    database.execute(SCHEMA)
    lines = "".join(f'north,{n},n\n"so,""uth",{n},"O\'s; %s"\n' for n in range(1, 6))
    spec = written(tmp_path, "region,number,tenant\n" + lines, role(create=False))
    there_and_back(database, spec)
    migrate(operated(database, spec), spec, MigrateOptions(until=Phase.CONTRACT))
    query = "SELECT region, t.slug, count(*) FROM sale JOIN tenants t ON t.id = tenant_id GROUP BY 1, 2 ORDER BY 1"
    assert database.rows(query) == [("north", "n", 50), ('so,"uth', "O's; %s", 50)]


def test_a_file_that_changes_on_the_way(database: Database, role: Callable[..., str], tmp_path: Path) -> None:
    """Rows that are filled already get the tenants that it names now, and so do those that refer to them."""
    database.execute(SCHEMA)
    name = role(create=False)
    header, lines = (
        "region,number,tenant\n",
        [f"{region},{n},x\n" for region in ("north", '"so,""uth"') for n in range(1, 6)],
    )
    spec = written(tmp_path, header + "".join(lines), name)
    target = operated(database, spec)
    migrate(target, spec, MigrateOptions(until=Phase.BACKFILL))
    changed = "".join(line.replace(",x", ",y") for line in lines[:5]) + "".join(lines[5:])
    migrate(target, written(tmp_path, header + changed, name))
    query = "SELECT region, t.slug, count(*) FROM sale JOIN tenants t ON t.id = tenant_id GROUP BY 1, 2 ORDER BY 1"
    assert database.rows(query) == [("north", "y", 50), ('so,"uth', "x", 50)]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("region,tenant\nnorth,n\n", "the header of"),
        ("region,number,tenant\nnorth\n", "line 2 of"),
    ],
)
def test_a_file_that_does_not_fit(
    lines: str, words: str, database: Database, role: Callable[..., str], tmp_path: Path
) -> None:
    """One sentence, and nothing has changed."""
    database.execute(SCHEMA)
    before = database.dump()
    with pytest.raises(UsageError, match=words):
        migrate(Target(database.dsn), written(tmp_path, lines, role(create=False)))
    assert database.dump() == before
