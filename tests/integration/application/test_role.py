"""The application's role gets what defaults, checks, triggers and views of its tables need; what is left out is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, preview, rollback
from tenantry.errors import ExitStatus
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server

LIBRARY = """
CREATE TABLE branches (id int PRIMARY KEY, slug text UNIQUE);
INSERT INTO branches VALUES (1, 'east'), (2, 'west');
CREATE SCHEMA tools; CREATE SCHEMA "Odd Tools"; CREATE SCHEMA desks; CREATE SCHEMA signs;
CREATE SEQUENCE card_numbers; CREATE SEQUENCE tools.shelf_marks; CREATE SEQUENCE "Odd Tools"."a'b";
CREATE FUNCTION tools.new_card() RETURNS text LANGUAGE sql AS $$ SELECT 'card ' || nextval('public.card_numbers') $$;
CREATE FUNCTION tools.checked(text) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1 <> '' $$;
CREATE FUNCTION tools.folded(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower($1) $$;
CREATE FUNCTION tools.short(text) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT length($1) < 40 $$;
CREATE FUNCTION tools.wanted(int) RETURNS bool LANGUAGE sql IMMUTABLE AS $$ SELECT $1 >= 0 $$;
CREATE FUNCTION tools.shown(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '*' || $1 $$;
CREATE FUNCTION tools.unused() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;
CREATE DOMAIN tools.title AS text CHECK (tools.short(VALUE));
CREATE TYPE signs.state AS ENUM ('here', 'lent');
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA tools FROM PUBLIC;
REVOKE USAGE ON TYPE tools.title, signs.state FROM PUBLIC;
CREATE TABLE books (id int PRIMARY KEY DEFAULT nextval('"Odd Tools"."a''b"'), branch_id int NOT NULL REFERENCES branches,
  title tools.title DEFAULT 'none', state signs.state DEFAULT 'here', card text DEFAULT tools.new_card(),
  mark bigint, price int, CHECK (tools.checked(card)));
CREATE UNIQUE INDEX books_folded ON books (tools.folded(card));
CREATE FUNCTION tools.mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  NEW.mark := nextval('tools.shelf_marks'); -- not nextval('tools.other')
  RETURN NEW; END $$;
CREATE TRIGGER marking BEFORE INSERT ON books FOR EACH ROW WHEN (tools.wanted(NEW.price)) EXECUTE FUNCTION tools.mark();
REVOKE EXECUTE ON FUNCTION tools.mark() FROM PUBLIC;
CREATE TABLE counted (books int); INSERT INTO counted VALUES (0);
CREATE FUNCTION tools.counting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  UPDATE counted SET books = books + 1; RETURN NULL; END $$;
INSERT INTO books (id, branch_id, card) SELECT g, 1 + g % 2, 'old ' || g FROM generate_series(1001, 1010) g;
CREATE VIEW desks.cheap AS SELECT id, branch_id, title, card, tools.shown(card) AS shown FROM books WHERE price < 10;
CREATE VIEW sums AS SELECT branch_id, sum(price) FROM books GROUP BY 1;
"""
SPEC = """
schemas = ["public", "desks"]
[tenant]
table = "branches"
[application]
role = "{}"
[[table]]
name = "books"
paths = [["branch_id"]]
[[table]]
name = "counted"
shared = true
"""


@dataclass(frozen=True, kw_only=True)
class Library:
    database: Database
    role: str

    @property
    def spec(self) -> Spec:
        return Spec.parse(SPEC.format(self.role))

    def migrate(self) -> None:
        options = MigrateOptions(until=Phase.ISOLATE, backup=BackupKind.NONE, force=True)
        migrate(Target(self.database.dsn), self.spec, options)

    def as_application(self, statement: str) -> list[tuple[Any, ...]]:
        with self.database.connect() as session:
            session.execute(f'SET ROLE "{self.role}"')
            session.execute("SET LOCAL app.tenant_id = '2'")
            done = session.execute(statement)
            return done.fetchall() if done.description else []


@pytest.fixture
def library(template: Callable[..., Database], role: Callable[..., str]) -> Library:
    database = template("library", lambda database: database.execute(LIBRARY))
    return Library(database=database, role=role(create=False, name="readers"))


def test_writes_with_its_own_rights(library: Library) -> None:
    """What functions of defaults, domains, checks, indexes, conditions of triggers and trigger functions need."""
    before = library.database.dump()
    library.migrate()
    found = library.as_application(
        "INSERT INTO books (title, price) VALUES ('Emma', 5) RETURNING branch_id, title, state, card, mark, id"
    )
    assert found == [(2, "Emma", "here", "card 1", 1, 1)]
    found = library.as_application("SELECT count(*) FROM books WHERE state = 'here'::signs.state")
    assert found == [(6,)]
    assert library.as_application("UPDATE books SET card = 'card X' WHERE title = 'Emma' RETURNING card") == [
        ("card X",)
    ]
    rollback(Target(library.database.dsn), RollbackOptions(backup=BackupKind.NONE))
    assert library.database.dump() == before


def test_gets_no_more(library: Library) -> None:
    """No function, schema or view that nothing of its tables uses."""
    library.migrate()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        library.as_application("SELECT tools.unused()")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        library.as_application("SELECT nextval('\"Odd Tools\".\"a''b\"')")


@pytest.mark.pg(">= 15")
def test_views(library: Library) -> None:
    """It writes through a view that PostgreSQL passes on to the table, within its own tenant; another one it reads."""
    library.migrate()
    library.as_application("INSERT INTO desks.cheap (title, card) VALUES ('Persuasion', 'P 1')")
    assert library.as_application("SELECT branch_id, card FROM books WHERE title = 'Persuasion'") == [(2, "P 1")]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        library.as_application("INSERT INTO desks.cheap (branch_id, title, card) VALUES (1, 'Sanditon', 'S 1')")
    library.database.execute("UPDATE books SET price = 1 WHERE title IS NOT NULL")
    assert library.as_application("SELECT DISTINCT branch_id, left(shown, 1) FROM desks.cheap") == [(2, "*")]
    library.as_application("UPDATE desks.cheap SET title = 'New'; DELETE FROM desks.cheap WHERE id = 1002")
    assert library.as_application("SELECT count(*) FROM sums") == [(1,)]
    assert library.database.rows("SELECT count(*) FROM books WHERE title = 'New' AND branch_id = 1") == [(0,)]


def test_what_is_left_out_is_named(library: Library) -> None:
    """A trigger that writes a table of which the application may only read, and a view that others write by a trigger."""
    library.database.execute(f"""
        CREATE TRIGGER counting AFTER INSERT ON books FOR EACH ROW EXECUTE FUNCTION tools.counting();
        CREATE ROLE {library.role}_old; GRANT INSERT ON sums TO {library.role}_old
    """)
    options = MigrateOptions(until=Phase.ISOLATE, backup=BackupKind.NONE, force=True)
    dry = preview(Target(library.database.dsn), library.spec, options)
    found = [finding for finding in dry.findings if finding.name == "application-lacks-privilege"]
    assert [finding.message for finding in found] == [
        "tools.counting(), called by the trigger counting on public.books, runs with the privileges of"
        f" {library.role}, and seems to need UPDATE on public.counted, which {library.role} does not get"
    ]
    library.migrate()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        library.as_application("INSERT INTO books (title) VALUES ('Emma')")
    library.database.execute(found[0].remedy.partition(",")[0])
    library.as_application("INSERT INTO books (title) VALUES ('Emma')")


def test_by_table(library: Library) -> None:
    """What a table needs goes with it; what the role had before stays."""
    library.database.execute(f"""
        CREATE ROLE {library.role} NOLOGIN; GRANT EXECUTE ON FUNCTION tools.checked(text) TO {library.role};
    """)
    before = library.database.dump()
    library.migrate()
    result = rollback(
        Target(library.database.dsn), RollbackOptions(backup=BackupKind.NONE, tables=("books",), force=True)
    )
    assert result.exit_status in (ExitStatus.DONE, ExitStatus.FINDINGS)
    query = "SELECT has_function_privilege(%s, oid, 'execute') FROM pg_proc WHERE proname = %s"
    assert library.database.rows(query, [library.role, "new_card"]) == [(False,)]
    rollback(Target(library.database.dsn), RollbackOptions(backup=BackupKind.NONE, force=True))
    assert library.database.rows(query, [library.role, "checked"]) == [(True,)]
    assert library.database.dump() == before
