"""Databases to be backed up: the presets, and tables of every odd kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import sql

from servers import Database
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path

ODD = (Path(__file__).with_name("odd.sql")).read_text()
LONG = "x" * 63


def rows(database: Database) -> dict[str, tuple[int, str]]:
    """Per table of the user's the number of rows and a sum over all columns, generated ones too."""
    found = {}
    with database.connect() as connection:
        tables = connection.execute(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE c.relkind IN ('r', 'p')"
            " AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'tenantry')"
            " AND NOT c.relispartition"
        ).fetchall()
        for (table,) in tables:
            query = sql.SQL(
                "SELECT count(*), coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint), 0)::text"
                " FROM ONLY {} t"
            ).format(sql.SQL(table))
            kind = connection.execute("SELECT relkind::text FROM pg_class WHERE oid = %s::regclass", [table]).fetchone()
            if kind == ("p",):
                query = sql.SQL(query.as_string(None).replace("FROM ONLY", "FROM"))
            found[table] = connection.execute(query).fetchone()
    return found


def firing(database: Database) -> list[tuple[str, str, str]]:
    """Every trigger and rule with its state, ours and PostgreSQL's own included."""
    return database.rows(
        "SELECT tgrelid::regclass::text, CASE WHEN tgisinternal THEN 'internal' ELSE tgname::text END, tgenabled::text"
        " FROM pg_trigger UNION ALL SELECT ev_class::regclass::text, rulename::text, ev_enabled::text FROM pg_rewrite"
        " WHERE rulename <> '_RETURN' ORDER BY 1, 2, 3"
    )


@pytest.fixture
def preset(template: Callable[..., Database], role: Callable[..., str]) -> Callable[[str], tuple[Database, Spec]]:
    """`preset("estoque")`: a copy of that preset's database, with its spec and an application role of its own."""

    def make(name: str) -> tuple[Database, Spec]:
        def build(database: Database) -> None:
            with database.connect() as connection:
                load(connection, preset=name, rows=1000, seed=1)

        spec = Spec.read(spec_path(name))
        application = spec.application.model_copy(update={"role": role(create=False, name="app")})
        return template(f"backup {name}", build), spec.model_copy(update={"application": application})

    return make


@pytest.fixture
def odd(template: Callable[..., Database]) -> Database:
    """A copy of the database with the odd tables."""
    return template("backup odd", lambda database: database.load(ODD.replace(":long", LONG)))


def spec_of(*tables: str, create: bool = False) -> Spec:
    """A spec whose owned tables are these; backups ask it for nothing else."""
    schemas = ["public", "other"] if any(name.startswith("other.") for name in tables) else ["public"]
    text = (
        f"schemas = {schemas}\n[tenant]\ntable = '{'tenants' if create else 'shops'}'\ncreate = {str(create).lower()}\n"
    )
    text += "".join(f'[[table]]\nname = """{name}"""\nassign = {{ tenant = "one" }}\n' for name in tables)
    return Spec.parse(text)


def target(database: Database, user: str = "postgres") -> Target:
    return Target(f"{database.dsn} user={user}")
