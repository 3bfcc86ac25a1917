"""A superuser's tables, and eve's, who has hidden code wherever PostgreSQL runs any, for single statements of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from servers import Database
from tenantry.postgres.connect import Target, connect
from tenantry.postgres.owner_context import raw_cursor

OURS = """
CREATE TABLE branches (
    id int PRIMARY KEY, code text UNIQUE, tenant int, note text,
    twice int GENERATED ALWAYS AS (tenant * 2) STORED UNIQUE
);
INSERT INTO branches VALUES (1, 'a', NULL, 'one'), (2, 'b', NULL, 'two');
GRANT SELECT, REFERENCES ON branches TO eve;
CREATE TABLE heirs (id int PRIMARY KEY) INHERITS (branches);
"""
THEIRS = """
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
-- What they count stays counted, whatever is rolled back.
CREATE SEQUENCE evil.by_superuser;
CREATE SEQUENCE evil.by_others;
GRANT ALL ON evil.by_superuser, evil.by_others TO PUBLIC;
CREATE FUNCTION evil.note() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    BEGIN EXECUTE 'RESET ROLE'; EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXCEPTION WHEN OTHERS THEN NULL; END;
    PERFORM pg_catalog.nextval(CASE WHEN rolsuper THEN 'evil.by_superuser' ELSE 'evil.by_others' END)
        FROM pg_catalog.pg_roles WHERE rolname = current_user;
END $$;
CREATE FUNCTION evil.acts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM evil.note();
    BEGIN
        EXECUTE format('DECLARE %I CURSOR WITH HOLD FOR SELECT evil.note()', 'c' || clock_timestamp());
    EXCEPTION WHEN OTHERS THEN NULL; END;
    IF tg_op = 'DELETE' THEN RETURN old; END IF;
    RETURN new;
END $$;
CREATE FUNCTION evil.truth(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note(); RETURN true; END $$;
CREATE FUNCTION evil.whole(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note(); RETURN $1; END $$;
CREATE DOMAIN evil.key AS int CHECK (evil.truth(VALUE));
CREATE DOMAIN evil.word AS varchar(5) CHECK (evil.truth(length(VALUE)));
CREATE TYPE evil.pair AS (one evil.key, two text);
CREATE TYPE evil.colour AS ENUM ('red', 'blue');
CREATE TABLE evil.keys (id evil.key PRIMARY KEY, word evil.word, pair evil.pair, colour evil.colour, many evil.key[]);
INSERT INTO evil.keys VALUES (1, 'one', (1, 'x'), 'red', '{1,2}'), (2, NULL, NULL, NULL, NULL);
CREATE TABLE evil.spies (branch int DEFAULT 2, code text DEFAULT 'b', twice int);
INSERT INTO evil.spies VALUES (1, 'a', NULL);
SELECT pg_catalog.setval('evil.by_others', 1, false);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Den:
    """A superuser's table, and eve's that refers to it."""

    database: Database

    def refer(self, key: str, trigger: str = "AFTER INSERT OR UPDATE OR DELETE") -> None:
        kind = "CONSTRAINT TRIGGER" if "DEFERRED" in trigger else "TRIGGER"
        events, _, put_off = trigger.partition(" DEFERRABLE")
        self.theirs(
            f"ALTER TABLE evil.spies ADD {key};"
            f"CREATE {kind} spies {events} ON evil.spies {'DEFERRABLE' if put_off else ''}{put_off}"
            " FOR EACH ROW EXECUTE FUNCTION evil.acts()"
        )

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """One of ours, within a transaction."""
        with connect(Target(self.database.dsn), purpose="a test") as connection, connection.transaction():
            yield connection

    def run(self, statement: str, *parameters: Any, role: str | None = None) -> list[tuple[Any, ...]]:
        """What a statement of ours returns, parameters $1, $2, …"""
        with self.session() as connection:
            if role is not None:
                connection.execute(f"SET LOCAL ROLE {role}".encode())
            cursor = raw_cursor(connection).execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def theirs(self, statements: str) -> None:
        """What eve does, which is not counted."""
        with self.database.connect(user="eve") as connection:
            connection.execute(statements.encode())
            connection.execute("SELECT pg_catalog.setval('evil.by_others', 1, false)")

    @property
    def ran(self) -> tuple[bool, bool]:
        """Whether code of eve's has run as a superuser, and as somebody else."""
        (found,) = self.database.rows("SELECT s.is_called, o.is_called FROM evil.by_superuser s, evil.by_others o")
        return found


def build(database: Database) -> None:
    database.execute("DROP ROLE IF EXISTS eve; DROP ROLE IF EXISTS eves_clerk")
    database.execute("CREATE ROLE eve LOGIN; CREATE ROLE eves_clerk")
    database.execute(f'GRANT CREATE ON DATABASE "{database.name}" TO eve')
    database.execute(OURS)
    database.execute("GRANT ALL ON branches TO eves_clerk")
    with database.connect(user="eve") as connection:
        connection.execute(THEIRS)
