"""A market hall that two tenants share, with every way to a tenant, and what of tenant B must stay as it is.

Every row of B's has a text that begins with B-SECRET. The tables' owner is the superuser, so that code which runs as
the owner could do anything.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg

from servers import Database
from tenantry import BalancesOptions, MigrateOptions, backfill_balances, install_balances, migrate
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

APPLICATION, OLD, STRANGER = "market_app", "market_old", "market_stranger"
"""The application's role after the migration, that of before (a legacy role), and one that may only connect."""
A = "00000000-0000-0000-0000-00000000000a"
B = "00000000-0000-0000-0000-00000000000b"
MARK = "B-SECRET"
SCHEMA = f"""
CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text NOT NULL UNIQUE, name text NOT NULL);
CREATE TABLE people (id int PRIMARY KEY, tenant uuid NOT NULL REFERENCES tenants, email text NOT NULL UNIQUE, note text);
CREATE TABLE shops (id int PRIMARY KEY, keeper int NOT NULL REFERENCES people, note text);
CREATE TABLE lots (id int PRIMARY KEY, note text);
CREATE TABLE crates (id int PRIMARY KEY, note text);
CREATE TABLE moves (id int PRIMARY KEY, shop int REFERENCES shops,
  lot int NOT NULL REFERENCES lots DEFERRABLE INITIALLY IMMEDIATE,
  crate int REFERENCES crates DEFERRABLE INITIALLY DEFERRED, note text);
CREATE TABLE notices (id int PRIMARY KEY, shop int REFERENCES shops, note text);
CREATE TABLE replies (id int PRIMARY KEY, notice int NOT NULL REFERENCES notices, shop int NOT NULL REFERENCES shops, note text);
CREATE TABLE parcels (id int PRIMARY KEY, shop int REFERENCES shops, note text);
CREATE TABLE orders (id int, at date NOT NULL, shop int NOT NULL REFERENCES shops, note text, PRIMARY KEY (id, at))
  PARTITION BY RANGE (at);
CREATE TABLE orders_2025 PARTITION OF orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE orders_rest PARTITION OF orders DEFAULT;
CREATE TABLE lines (order_id int, at date, n int, note text, PRIMARY KEY (order_id, at, n),
  FOREIGN KEY (order_id, at) REFERENCES orders ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE stock (id serial PRIMARY KEY, shop int NOT NULL REFERENCES shops, item text NOT NULL, quantity numeric NOT NULL, note text);
CREATE TABLE countries (code text PRIMARY KEY, note text);
CREATE TABLE audit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO audit (what) VALUES (TG_TABLE_NAME || ' ' || TG_OP); RETURN NULL; END $$;
CREATE TRIGGER watch AFTER UPDATE ON lots FOR EACH ROW EXECUTE FUNCTION watch();
CREATE TRIGGER watch AFTER UPDATE ON crates FOR EACH ROW EXECUTE FUNCTION watch();
CREATE TRIGGER watch AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION watch();
CREATE VIEW shop_notes AS SELECT id, note FROM shops;
CREATE VIEW sound_notes WITH (security_barrier = true) AS SELECT id, note FROM moves;
CREATE FUNCTION note_of(int) RETURNS text LANGUAGE sql STABLE AS $$ SELECT note FROM shops WHERE id = $1 $$;
INSERT INTO tenants VALUES ('{A}', 'a', 'A'), ('{B}', 'b', '{MARK}');
INSERT INTO people VALUES (1, '{A}', 'a@a.example', 'of A'), (2, '{B}', 'b@b.example', '{MARK} keeper');
INSERT INTO shops VALUES (1, 1, 'of A'), (2, 2, '{MARK} shop'), (4, 2, '{MARK} second shop');
INSERT INTO lots SELECT n, CASE n % 2 WHEN 1 THEN 'of A' ELSE '{MARK} lot' END FROM generate_series(1, 10) n;
INSERT INTO crates SELECT n, CASE n % 2 WHEN 1 THEN 'of A' ELSE '{MARK} crate' END FROM generate_series(1, 10) n;
INSERT INTO moves SELECT n, 2 - n % 2, n, n, CASE n % 2 WHEN 1 THEN 'of A' ELSE '{MARK} move' END FROM generate_series(1, 10) n;
INSERT INTO notices SELECT n, CASE WHEN n > 2 THEN 2 - n % 2 END,
  CASE WHEN n <= 2 THEN 'of all' WHEN n % 2 = 1 THEN 'of A' ELSE '{MARK} notice' END FROM generate_series(1, 10) n;
INSERT INTO replies SELECT n, n, 2 - n % 2, CASE n % 2 WHEN 1 THEN 'of A' ELSE '{MARK} reply' END FROM generate_series(1, 10) n;
INSERT INTO parcels SELECT n, 2 - n % 2, CASE n % 2 WHEN 1 THEN 'of A' ELSE '{MARK} parcel' END FROM generate_series(1, 10) n;
INSERT INTO orders SELECT n, date '2025-12-27' + n, 2 - n % 2, CASE n % 2 WHEN 1 THEN 'of A' ELSE '{MARK} order' END
  FROM generate_series(1, 10) n;
INSERT INTO lines SELECT id, at, 1, note FROM orders;
INSERT INTO stock (shop, item, quantity, note) SELECT 2 - n % 2, 'item ' || n % 3, n,
  CASE n % 2 WHEN 1 THEN 'of A' ELSE '{MARK} stock' END FROM generate_series(1, 30) n;
INSERT INTO countries VALUES ('pt', 'Portugal'), ('br', 'Brasil');
"""
SPEC = f"""
[tenant]
table = "tenants"
quarantine = "unknown"
[application]
role = "{APPLICATION}"
legacy_roles = ["{OLD}"]
[[table]]
name = "people"
paths = [["tenant"]]
[[table]]
name = "shops"
paths = [["keeper"]]
[[table]]
name = "lots"
children = ["moves.lot"]
[[table]]
name = "crates"
children = ["moves.crate"]
[[table]]
name = "moves"
paths = [["shop"], ["lot"]]
[[table]]
name = "notices"
paths = [["shop"]]
orphans = "shared"
[[table]]
name = "replies"
paths = [["shop"]]
[[table]]
name = "parcels"
paths = [["shop"]]
orphans = "quarantine"
[[table]]
name = "orders"
paths = [["shop"]]
[[table]]
name = "lines"
paths = [[["order_id", "at"]]]
[[table]]
name = "stock"
paths = [["shop"]]
[[table]]
name = "countries"
shared = true
[[table]]
name = "audit"
shared = true
[[rule]]
name = "wrong-note"
table = "lines"
violates = "note = 'wrong'"
fix = "note = 'right'"
[[ledger]]
table = "stock"
balance = "stock_balances"
key = ["tenant_id", "shop", "item"]
quantity = "quantity"
"""
TABLES = (
    "tenants", "people", "shops", "lots", "crates", "moves", "notices", "replies", "parcels", "orders", "lines", "stock",
)  # fmt: skip


def set_up_market(database: Database) -> None:
    """The hall before its migration; the roles that are missing on this server are made."""
    for name in (OLD, STRANGER):
        database.execute(
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN"
            f" CREATE ROLE {name} LOGIN; END IF; END $$"
        )
    database.execute(SCHEMA)
    database.execute(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {OLD};"
        f" GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {OLD}; REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
        # A role that nothing depends on would go with the test that made it.
        f" GRANT USAGE ON SCHEMA public TO {STRANGER}"
    )


def migrated(until: Phase | None) -> Callable[[Database], None]:
    """What builds the hall, migrated until a phase, with balances once the fill is done."""

    def build(database: Database) -> None:
        set_up_market(database)
        target, spec = Target(database.dsn), Spec.parse(SPEC)
        if until is not None:
            migrate(target, spec, MigrateOptions(until=until, force=True))
        if until in (Phase.ISOLATE, Phase.CONTRACT):
            database.execute(f"ALTER ROLE {APPLICATION} LOGIN; GRANT INSERT ON audit TO {APPLICATION}")
            # What has not moved yet is B's by its session alone.
            with database.connect(user=APPLICATION) as session:
                session.execute(f"SET LOCAL app.tenant_id = '{B}'")
                session.execute(f"INSERT INTO lots (id, note) VALUES (20, '{MARK} lot'), (22, '{MARK} lot')")
                session.execute(f"INSERT INTO crates (id, note) VALUES (20, '{MARK} crate'), (22, '{MARK} crate')")
        if until not in (None, Phase.EXPAND):
            install_balances(target, spec, BalancesOptions())
            backfill_balances(target, spec, BalancesOptions())

    return build


def of_others(database: Database, *, isolated: bool) -> dict[str, list[str]]:
    """The rows that are not A's, with the tenant of each: B's by their text, and where tenants are kept apart also all
    that have another tenant or none. A row of B's without a tenant counts as B's, as before the fill."""
    rows: dict[str, list[str]] = {}
    with database.connect(autocommit=True) as connection:
        for table in TABLES:
            key = {"tenants": "id", "people": "tenant"}.get(table, "tenant_id")
            others = f"OR row ->> '{key}' IS DISTINCT FROM '{A}'" if isolated else ""
            # Without the column, as before and after a migration, a row of B's is B's.
            absent = (
                f"NOT row ? '{key}' AND row::text LIKE '%{MARK}%' OR row ->> '{key}' IS NULL AND {table != 'notices'}"
            )
            query = (
                f"SELECT (row - 'tenant_id')::text || ' ' || CASE WHEN {absent} THEN '{B}' ELSE coalesce(row ->> '{key}', '') END"
                f" FROM (SELECT to_jsonb(t) AS row FROM {table} AS t) AS found"
                f" WHERE row::text LIKE '%{MARK}%' OR row ->> 'note' = 'of all' {others} ORDER BY 1"
            )
            rows[table] = [row for (row,) in connection.execute(query).fetchall()]
        rows["countries"] = [str(row) for row in connection.execute("SELECT * FROM countries ORDER BY 1").fetchall()]
    return rows


RIGHTS = """
SELECT 'role', rolname::text, (to_jsonb(r) - 'rolpassword')::text FROM pg_roles r
UNION ALL SELECT 'member', roleid::regrole::text, member::regrole::text FROM pg_auth_members
UNION ALL SELECT 'setting', setrole::regrole::text, setconfig::text FROM pg_db_role_setting
UNION ALL SELECT 'relation', c.oid::regclass::text, concat_ws(' ', c.relkind, c.relowner::regrole, c.relacl, c.relrowsecurity,
  c.relforcerowsecurity, c.reloptions) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {user}
UNION ALL SELECT 'column', a.attrelid::regclass || '.' || a.attname, concat_ws(' ', a.attacl, a.attnotnull, a.atthasdef)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {user} AND a.attnum > 0
UNION ALL SELECT 'function', p.oid::regprocedure::text, concat_ws(' ', p.proowner::regrole, p.proacl, p.prosecdef, p.proconfig,
  md5(p.prosrc)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {user}
UNION ALL SELECT 'trigger', t.tgrelid::regclass || ' ' || t.tgname, t.tgenabled::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {user} AND NOT t.tgisinternal
UNION ALL SELECT 'policy', p.polrelid::regclass || ' ' || p.polname, concat_ws(' ', p.polroles, p.polpermissive, p.polcmd,
  pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) FROM pg_policy p
UNION ALL SELECT 'schema', n.nspname::text, concat_ws(' ', n.nspowner::regrole, n.nspacl) FROM pg_namespace n WHERE {user}
UNION ALL SELECT 'constraint', conrelid::regclass || ' ' || conname, concat_ws(' ', convalidated, pg_get_constraintdef(k.oid))
  FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace WHERE {user}
UNION ALL SELECT 'database', datname::text, concat_ws(' ', datdba::regrole, datacl) FROM pg_database WHERE datname = current_database()
ORDER BY 1, 2, 3
""".replace("{user}", "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'")


def rights(database: Database) -> list[tuple[str, str, str]]:
    """Who may do what, and what holds whom: roles, memberships, settings, owners, grants, functions, triggers, policies."""
    return database.rows(RIGHTS)  # type: ignore[return-value]


def journal(database: Database) -> dict[str, str]:
    """What schema tenantry remembers, each table as one sum."""
    tables = database.rows(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace('tenantry') ORDER BY 1"
    )
    return {
        table: database.rows(f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t")[0][
            0
        ]
        for (table,) in tables
    }


class Received:
    """Everything that a session of the attacker's was told: rows, notices, errors with all their parts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self.texts += filter(None, (diagnostic.message_primary, diagnostic.message_detail, diagnostic.message_hint))

    def rows(self, cursor: psycopg.Cursor[Any]) -> None:
        while True:
            if cursor.description is not None:
                self.texts += [str(row) for row in cursor.fetchall()]
            if not cursor.nextset():
                return

    def error(self, error: psycopg.Error) -> None:
        diagnostic = error.diag
        self.texts += filter(None, (str(error), diagnostic.message_detail, diagnostic.message_hint, diagnostic.context))


def act(database: Database, user: str, statements: str, *, tenant: str | None) -> Received:
    """Run an attempt to its end, as `user` in a session of its own; what it was told, refusals included."""
    told = Received()
    with closing(psycopg.connect(database.dsn, user=user, autocommit=True)) as session:
        session.add_notice_handler(told.notice)
        session.execute("SET statement_timeout = '20s'; SET lock_timeout = '200ms'")
        try:
            begin = "" if tenant is None else f"BEGIN; SET LOCAL app.tenant_id = '{tenant}'; "
            told.rows(session.execute(begin + statements))
            told.rows(session.execute("COMMIT"))
        except psycopg.Error as error:
            told.error(error)
    return told
