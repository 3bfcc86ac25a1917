"""tenantry conflicts: from rows that lead to two tenants to a decision."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pytest

from conftest import Command
from servers import Database
from tenantry import conflicts
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

SHOP = """
CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
CREATE TABLE users (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);
CREATE TABLE teams (id int PRIMARY KEY, lead_id int NOT NULL REFERENCES users);
CREATE TABLE orders (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, team_id int REFERENCES teams);
CREATE TABLE visits (id int PRIMARY KEY, guest_id int NOT NULL REFERENCES users, host_id int NOT NULL REFERENCES users);
INSERT INTO tenants VALUES (1, 'a'), (2, 'b'), (3, '=c');
INSERT INTO users SELECT n, n FROM generate_series(1, 3) n;
INSERT INTO teams SELECT n, n FROM generate_series(1, 3) n;
INSERT INTO orders SELECT n, 1 + n % 3, 1 + n % 3 FROM generate_series(1, 30) n;
UPDATE orders SET team_id = 2 WHERE tenant_id = 1 AND id <= 15;
UPDATE orders SET team_id = 1 WHERE id IN (5, 8);
INSERT INTO visits SELECT n, 1, 1 FROM generate_series(1, 20) n;
UPDATE visits SET host_id = 3 WHERE id <= 12;
"""
SPEC = """# Ours.
version = 1

[tenant]
table = "tenants"

[[table]]
name = "users"
paths = [["tenant_id"]]

[[table]]
name = "teams"
paths = [["lead_id"]]

[[table]]
name = "orders"  # the heart of it
paths = [["tenant_id"], ["team_id"]]
undecided = "tenant_id and team_id disagree"

[[table]]
# One or the other.
name = "visits"
paths = [["guest_id"], ["host_id"]]   # guests first
"""
ORDERS = "orders"


def shop(template: Callable[..., Database]) -> Database:
    return template("conflicts", lambda made: made.load(SHOP))


def test_what_disagrees(template: Callable[..., Database], command: Callable[[str], Command]) -> None:
    """Table by table, by the ways and the tenants, with samples; every row in the file; ten and a total; no Python."""
    made = command(shop(template).dsn)
    (made.folder / "tenantry.toml").write_text(SPEC)
    outcome = made("conflicts", "--output", "rows.csv")
    assert outcome.status == 1, outcome.stderr
    text = " ".join(outcome.stdout.split())
    assert text.startswith("Next: ")
    assert "19 rows of 2 tables lead to several tenants." in text
    assert "public.orders 7 rows" in text
    assert "tenant_id against team_id > public.teams" in text
    assert "5 rows: a against b" in text
    assert "2 rows: =c against a" in text
    assert "12 rows: a against =c" in text
    assert "… 2 more, 12 rows in all" in text
    assert "{" not in text
    with (made.folder / "rows.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len({(line["table"], line["row"]) for line in lines}) == 19
    assert {line["tenants"] for line in lines} == {"a", "b", "'=c"}


def test_a_refusal_names_ten(template: Callable[..., Database], command: Callable[[str], Command]) -> None:
    """migrate refuses in sentences, and names the command that has all of it."""
    made = command(shop(template).dsn)
    (made.folder / "tenantry.toml").write_text(SPEC.replace('undecided = "tenant_id and team_id disagree"', ""))
    outcome = made("migrate", "--dry-run")
    assert outcome.status == 4
    assert "tenantry conflicts" in outcome.stderr
    assert "public.orders: conflict, id 3: tenant_id says a; team_id > public.teams says b" in outcome.stderr


@pytest.mark.parametrize("right", ["tenant_id", "team_id > public.teams"])
def test_statements_correct(template: Callable[..., Database], right: str) -> None:
    """The statement that makes a way follow the other one leaves no row that disagrees, and changes no other."""
    database = shop(template)
    (orders, *_) = (one for one in conflicts(Target(database.dsn), Spec.parse(SPEC)) if one.table.name == ORDERS)
    (both,) = orders.corrections.values()
    (chosen,) = (one for one in both if one.right == right)
    assert chosen.statement is not None
    apart = "SELECT o.id FROM orders o JOIN teams t ON t.id = o.team_id JOIN users u ON u.id = t.lead_id"
    before = database.rows(f"{apart} WHERE u.tenant_id <> o.tenant_id")
    rest = "SELECT * FROM orders WHERE NOT (id <= 15 AND tenant_id = 1 OR id IN (5, 8)) ORDER BY id"
    kept = database.rows(rest)
    with database.connect() as connection:
        assert connection.execute(chosen.statement).rowcount == len(before) == 7
    assert not database.rows(f"{apart} WHERE u.tenant_id <> o.tenant_id")
    assert set(kept) <= set(database.rows("SELECT * FROM orders"))
    assert ORDERS not in {one.table.name for one in conflicts(Target(database.dsn), Spec.parse(SPEC))}


def test_what_no_statement_can_tell(template: Callable[..., Database]) -> None:
    """Where a key is never NULL, only a person knows to which other row it should lead."""
    (visits, *_) = conflicts(Target(shop(template).dsn), Spec.parse(SPEC))
    assert visits.table.name == "visits"
    (both,) = visits.corrections.values()
    assert [one.statement for one in both] == [None, None]
    assert "only a person can tell" in both[0].reason


def test_decide(template: Callable[..., Database], command: Callable[[str], Command]) -> None:
    """The choice stands in the spec, whose other lines and comments stay; nothing disagrees any more, and migrate goes on."""
    made = command(shop(template).dsn)
    path = made.folder / "tenantry.toml"
    path.write_text(SPEC)
    path.chmod(0o640)
    assert made("conflicts", "--decide", "visits.host_id").status == 0
    assert made("conflicts", "--decide", "public.orders.tenant_id").status == 0
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    for line in ("# Ours.", 'name = "orders"  # the heart of it', "# One or the other.", 'paths = [["lead_id"]]'):
        assert line in text.splitlines()
    spec = Spec.read(path)
    parts = {part.name: part for part in spec.table}
    assert parts["visits"].paths == ((("host_id",),),)
    assert (parts["orders"].paths, parts["orders"].undecided) == (((("tenant_id",),),), None)
    assert {(one.child, one.crosses) for one in spec.reference} == {("visits.guest_id", True), ("orders.team_id", True)}
    outcome = made("conflicts")
    assert outcome.status == 0, outcome.stdout
    assert made("migrate", "--dry-run", "--until", "enforce").status == 0
