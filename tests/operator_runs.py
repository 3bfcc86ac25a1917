"""Runs as the operator that `tenantry operator-sql` makes, on databases whose owner is another role, and hostile."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from psycopg import sql
from psycopg.conninfo import make_conninfo

from servers import Database
from tenantry import operator_sql
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

HOSTILE = Path(__file__).with_name("hostile_owner.sql")
HANDED_OVER = """
DO $$
DECLARE found text;
BEGIN
  FOR found IN
    WITH users AS (
      SELECT oid FROM pg_namespace n WHERE NOT starts_with(nspname, 'pg_')
        AND nspname NOT IN ('information_schema', 'tenantry') AND nspowner <> to_regrole({owner})
    ), own AS (
      SELECT oid, 'pg_class'::regclass AS class, relkind, relname AS name, relnamespace AS schema FROM pg_class
        WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
          OR relkind = 'S' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                                           AND d.objid = pg_class.oid AND d.deptype IN ('a', 'i'))
      UNION ALL
      SELECT oid, 'pg_type'::regclass, 't', typname, typnamespace FROM pg_type WHERE typtype IN ('d', 'e', 'r')
        OR typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = typrelid) = 'c'
    )
    SELECT format('ALTER SCHEMA %s OWNER TO {name}', oid::regnamespace) FROM users
    UNION ALL
    SELECT format('ALTER %s %s.%I OWNER TO {name}', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
      WHEN 'S' THEN 'SEQUENCE' WHEN 't' THEN 'TYPE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
      schema::regnamespace, name)
    FROM own JOIN users ON users.oid = own.schema
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = class AND d.objid = own.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('ALTER ROUTINE %s OWNER TO {name}', p.oid::regprocedure)
    FROM pg_proc p JOIN users ON users.oid = p.pronamespace
    WHERE p.prokind IN ('f', 'p') AND NOT EXISTS (SELECT FROM pg_depend d
      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
  LOOP
    EXECUTE found;
  END LOOP;
END $$
"""
_numbers = itertools.count(1)
_owners: dict[tuple[str, str], str] = {}


class Operating:
    """Whether runs are to be the operator's: the option --operator."""

    wanted = False


def operated(database: Database, spec: Spec) -> Target:
    """The database for a run with this spec: as the superuser, or with --operator as the operator, on a database that
    has then been handed over to a hostile owner. To be asked before a dump is taken."""
    if not Operating.wanted:
        return Target(database.dsn)
    hand_over(database)
    return as_operator(database, spec)


def assert_no_superuser(database: Database) -> None:
    """Nothing that the hostile owner has laid out was run by a superuser."""
    assert database.rows("SELECT is_called FROM evil.by_superuser") == [(False,)]


def hand_over(database: Database) -> str:
    """Give the database and all in it to an owner who is no superuser, and who has laid out what he can; once each."""
    key = (database.dsn, database.rows("SELECT oid::text FROM pg_database WHERE datname = current_database()")[0][0])
    if key in _owners:
        return _owners[key]
    owner = f"hostile_{os.getpid()}_{next(_numbers)}"
    name, place = sql.Identifier(owner), sql.Identifier(database.name)
    database.server.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
    database.server.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(place, name))
    # The tests' own sessions are no part of the game.
    database.server.execute(
        sql.SQL('ALTER ROLE postgres IN DATABASE {} SET search_path = "$user", public').format(place)
    )
    database.execute(HANDED_OVER.format(owner=sql.Literal(owner).as_string(), name=name.as_string()))
    with database.connect(user=owner, autocommit=True) as connection:
        connection.execute(HOSTILE.read_text())
    _owners[key] = owner
    return owner


def as_operator(database: Database, spec: Spec | None, role: str | None = None) -> Target:
    """The database as its operator, whom the printed script makes."""
    role = role or f"operator_{os.getpid()}_{database.name.rpartition('_')[2]}"
    operator = Target(make_conninfo(database.dsn, user=role))
    # Once there is a journal, it is the operator's, and nobody else is to believe it.
    began = database.rows("SELECT FROM pg_namespace WHERE nspname = 'tenantry'") != []
    database.load(operator_sql(operator if began else Target(database.dsn), spec, role=role).text)
    return operator
