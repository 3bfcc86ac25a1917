"""What discover says in the terminal: totals, and what is undecided in groups that one line answers."""

from __future__ import annotations

from collections.abc import Callable

from conftest import Command
from servers import Database

TABLES = 40


def test_a_page_of_questions(database: Database, command: Callable[[str], Command]) -> None:
    """Tables that wait for the same answer are one line, however many they are; the file has all of them."""
    database.execute(
        "CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE); INSERT INTO tenants VALUES (1, 'a'), (2, 'b');"
        "CREATE TABLE people (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants);"
        "INSERT INTO people VALUES (1, 1), (2, 2);"
        + "".join(
            f"CREATE TABLE t{number} (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants,"
            f" guest int NOT NULL REFERENCES people); INSERT INTO t{number} VALUES (1, 1, 2);"
            for number in range(TABLES)
        )
        + "CREATE TABLE alone (id int PRIMARY KEY, name text)"
    )
    made = command(database.dsn)
    outcome = made("discover", "--output", "tenantry.toml")
    assert outcome.status == 0
    lines = outcome.stdout.splitlines()
    assert len(lines) <= 20
    text = " ".join(outcome.stdout.split())
    assert f"{TABLES + 2} tables beside the tenant table: 1 owned, {TABLES + 1} undecided." in text
    assert f"{TABLES} tables: tenant_id and guest disagree" in text
    assert "crosses = true" in text
    assert "alone: no path reaches it" in text
    assert (made.folder / "tenantry.toml").read_text().count("undecided =") == TABLES + 1
