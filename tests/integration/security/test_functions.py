"""Every function of ours, those to come as well: as whom it runs, what names it finds, and who may call it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg import sql

from daily import daily
from servers import Database
from tenantry import MigrateOptions, install_balances, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import load, spec_path

pytestmark = [pytest.mark.server, pytest.mark.differs]

ROLES = ("functions_app", "functions_owner", "functions_other")
APPLICATION, OWNER, OTHER = ROLES
# Two owners, names that have to be quoted, parents that wait for their tenant, shared rows, a ledger in partitions.
ODD = """
CREATE SCHEMA "Odd, ""s"".x";
GRANT ALL ON SCHEMA "Odd, ""s"".x" TO functions_owner, functions_other;
SET search_path = "Odd, ""s"".x";
CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text NOT NULL UNIQUE);
INSERT INTO tenants (slug) VALUES ('north'), ('south');
CREATE TABLE "Shop's" (id integer PRIMARY KEY, tenant_id uuid NOT NULL REFERENCES tenants);
CREATE TABLE lots (id integer PRIMARY KEY);
CREATE TABLE tags (id integer PRIMARY KEY, tenant_id uuid REFERENCES tenants);
CREATE TABLE alerts (id integer PRIMARY KEY, lot integer REFERENCES lots, tag integer REFERENCES tags);
CREATE TABLE "moves $1" (id integer NOT NULL, shop integer NOT NULL REFERENCES "Shop's", lot integer REFERENCES lots,
  quantity numeric NOT NULL, PRIMARY KEY (id, shop)) PARTITION BY RANGE (shop);
CREATE TABLE "moves 1" PARTITION OF "moves $1" FOR VALUES FROM (1) TO (2);
CREATE TABLE "moves 2" PARTITION OF "moves $1" DEFAULT;
ALTER TABLE "Shop's" OWNER TO functions_owner;
ALTER TABLE lots OWNER TO functions_other;
ALTER TABLE alerts OWNER TO functions_other;
ALTER TABLE "moves $1" OWNER TO functions_owner;
GRANT ALL ON ALL TABLES IN SCHEMA "Odd, ""s"".x" TO functions_owner, functions_other;
INSERT INTO "Shop's" SELECT n, id FROM tenants, LATERAL (SELECT CASE slug WHEN 'north' THEN 1 ELSE 2 END AS n) AS number;
INSERT INTO lots VALUES (1), (2);
INSERT INTO tags VALUES (1);
INSERT INTO alerts VALUES (1, 1, 1);
INSERT INTO "moves $1" VALUES (1, 1, 1, 5), (2, 2, 2, 7);
"""
ODD_SPEC = """
schemas = ['Odd, "s".x']
[tenant]
table = "tenants"
[application]
role = "functions_app"
[[table]]
name = '''"Shop's"'''
paths = [["tenant_id"]]
[[table]]
name = "lots"
children = ['"moves $1".lot']
[[table]]
name = "tags"
paths = [["tenant_id"]]
orphans = "shared"
[[table]]
name = "alerts"
paths = [["lot"], ["tag"]]
[[table]]
name = '"moves $1"'
paths = [["shop"], ["lot"]]
[[ledger]]
table = '"moves $1"'
balance = "balances"
key = ["tenant_id", "shop", "lot"]
quantity = "quantity"
"""
ESTOQUE_LEDGER = """
[[ledger]]
table    = "estoque_movimentacoes"
balance  = "saldos"
key      = ["tenant_id", "produto_id", "lote_id"]
quantity = "quantidade"
"""
FUNCTIONS = """
SELECT p.oid::regprocedure::text, p.prosecdef, p.proowner::regrole::text, p.proconfig, p.prosrc,
  (SELECT array_agg(DISTINCT c.relowner::regrole::text) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
   WHERE t.tgfoid = p.oid),
  ARRAY(SELECT e.grantee::regrole::text FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS e
        WHERE e.grantee <> p.proowner),
  has_function_privilege('functions_app', p.oid, 'EXECUTE'), p.prorettype = 'trigger'::regtype
FROM pg_proc p WHERE p.pronamespace = 'tenantry'::regnamespace ORDER BY 1
"""
ELSEWHERE = """
SELECT n.nspname || '.' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname <> 'tenantry' ORDER BY 1
"""
# The quotes are doubled in dynamic SQL.
PATHS = re.compile(r"set_config\(\s*'{1,2}search_path'{1,2}\s*,\s*(.*?)\s*,\s*(?:true|false)\s*\)", re.DOTALL)


QUOTED = """
SELECT name FROM (
  SELECT relname::text, relnamespace FROM pg_class UNION ALL SELECT proname, pronamespace FROM pg_proc
  UNION ALL SELECT conname, connamespace FROM pg_constraint WHERE contype <> 'n'
) AS of_ours(name, namespace) WHERE namespace = 'tenantry'::regnamespace AND quote_ident(name) <> name
  AND name NOT LIKE 'backup\\_%'
"""
"""Copies in a backup are called for their tables, whatever these are called."""


def prepare(preset: str, database: Database) -> Spec:
    """The roles, whom default privileges give everything that anybody makes; a business; its spec."""
    with database.connect() as connection:
        known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        for name in ROLES:
            if name not in known:
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        for what in ("FUNCTIONS", "TABLES"):
            connection.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {what} TO functions_app, PUBLIC")
        if preset == "odd":
            connection.execute(ODD)
            return Spec.parse(ODD_SPEC)
        load(connection, preset=preset, rows=200, seed=1)
        connection.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC")
    text = spec_path(preset).read_text(encoding="utf-8").replace("tenantry_app", APPLICATION)
    return Spec.parse(text + (ESTOQUE_LEDGER if preset == "estoque" else ""))


def faults(functions: list[tuple[Any, ...]]) -> Iterator[str]:
    """What is not as it should be with functions of ours."""
    for name, definer, owner, settings, source, owners, grantees, callable_, trigger in functions:
        if not (definer and trigger):
            yield f"{name} is not a trigger function that runs as its owner"
        # What follows a row runs as whose the followers are.
        if owners is None or (owner not in owners and ".follow_" not in name):
            yield f"{name} is {owner}'s, its tables are {owners}'s"
        if "search_path=pg_catalog, pg_temp" not in (settings or ()):
            yield f"{name} has {settings}"
        if grantees or callable_:
            yield f"{name} may be called by {grantees}"
        if source.count("'search_path'") != len(PATHS.findall(source)):
            yield f"{name} sets a search_path in another way"
        yield from (f"{name} sets {path}" for path in PATHS.findall(source) if not path.rstrip("'").endswith("pg_temp"))


@pytest.mark.parametrize("preset", daily(["odd", "estoque", "enterprise"], 2))
def test_every_function(preset: str, database: Database, role: Callable[..., str]) -> None:
    """While all triggers stand, and after contract; default privileges open none of them to anybody."""
    spec = prepare(preset, database)
    target = Target(database.dsn)
    before = database.rows(ELSEWHERE)
    migrate(target, spec, MigrateOptions(until=Phase.ISOLATE, force=True, workers=1))
    install_balances(target, spec)
    standing = database.rows(FUNCTIONS)
    migrate(target, spec, MigrateOptions(until=Phase.CONTRACT, force=True, workers=1))
    left = database.rows(FUNCTIONS)
    assert len(standing) > len(left) >= 3
    assert [*faults(standing), *faults(left)] == []
    assert database.rows(ELSEWHERE) == before
    assert database.rows(QUOTED) == [], "a name that somebody has to quote"
    assert database.rows("SELECT has_table_privilege('functions_app', 'tenantry.secret', 'SELECT')") == [(False,)]


def test_faults_are_seen(database: Database) -> None:
    """The test above finds what is wrong with a function."""
    database.execute("""
        CREATE SCHEMA tenantry;
        CREATE ROLE functions_app;
        CREATE FUNCTION tenantry.careless() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS
          $$ BEGIN PERFORM pg_catalog.set_config('search_path', 'pg_catalog, public', true); RETURN NULL; END $$;
    """)
    assert [fault.partition("()")[2].split()[0] for fault in faults(database.rows(FUNCTIONS))] == [
        "is", "is", "has", "may", "sets",
    ]  # fmt: skip
