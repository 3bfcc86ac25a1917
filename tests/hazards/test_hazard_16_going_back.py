"""Hazard 16: what pg_dump shows after a careless undo: access lists, view options, what hangs on a unique index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import unified_diff
from itertools import islice

import pytest

from daily import daily
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server

TENANTS = """
CREATE TABLE tenants (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO tenants VALUES (1, 'north'), (2, 'south');
"""
SHOP = """
CREATE TABLE stores (id serial PRIMARY KEY, owner integer NOT NULL REFERENCES tenants, name text NOT NULL,
  code text NOT NULL, place text);
CREATE TABLE sales (id serial PRIMARY KEY, store integer NOT NULL REFERENCES stores, total integer NOT NULL, note text);
INSERT INTO stores (owner, name, code) SELECT 1 + n % 2, 's' || n, 'c' || n FROM generate_series(1, 6) n;
INSERT INTO sales (store, total) SELECT 1 + n % 6, n FROM generate_series(1, 30) n;
"""
UNITS = "CREATE TABLE units (id integer PRIMARY KEY, name text);"


class Shops:
    """A shop of the same tables in a schema of its own for each case, all in one database."""

    def __init__(self, database: Database, application: str) -> None:
        self.database = database
        self.application = application
        self.schemas = ["public"]
        self.tables = ""
        database.execute(TENANTS)

    def open(self, case: str, script: str, *, unique: tuple[str, ...] = ()) -> None:
        """The script is run with the schema as the first in the search path."""
        units = "units" in script
        self.schemas.append(case)
        names = f'SET search_path = "{case}", public;'
        self.database.execute(f'CREATE SCHEMA "{case}"; {names} {SHOP} {UNITS if units else ""} {script}')
        self.tables += f'[[table]]\nname = \'"{case}".stores\'\npaths = [["owner"]]\nunique = {list(unique)}\n'
        self.tables += f'[[table]]\nname = \'"{case}".sales\'\npaths = [["store"]]\n'
        if units:
            self.tables += f"[[table]]\nname = '\"{case}\".units'\nshared = true\n"

    @property
    def spec(self) -> Spec:
        head = f'schemas = {self.schemas}\n[tenant]\ntable = "tenants"\n[application]\nrole = "{self.application}"\n'
        return Spec.parse(head + self.tables)

    def there_and_back(self, until: Phase = Phase.CONTRACT) -> None:
        """The dump after the rollback is byte for byte the one from before."""
        before, target, options = (
            self.database.dump(),
            Target(self.database.dsn),
            MigrateOptions(until=until, force=True),
        )
        migrate(target, self.spec, options)
        assert migrate(target, self.spec, options).applied == 0
        changed = "".join(difference(before, self.database.dump()))
        assert [case for case in self.schemas[1:] if case not in changed] == []
        rollback(target, RollbackOptions())
        assert difference(before, self.database.dump()) == []


def difference(before: str, after: str) -> list[str]:
    return list(unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))


@pytest.fixture
def shops(database: Database, role: Callable[..., str]) -> Shops:
    """Shops whose application role is not there yet."""
    return Shops(database, role(create=False, name="app"))


STRIDE = pytest.mark.parametrize("stride", daily([3, 1]), ids=["some", "all"])
"""Every third case; all of them in the nightly run."""


def each(cases: Mapping[str, str], stride: int) -> Iterable[tuple[str, str]]:
    return islice(cases.items(), 0, None, stride)


# --- access lists

GRANTS = {
    "all that it will have": "GRANT SELECT, INSERT, UPDATE, DELETE ON stores, sales TO {app}",
    "a part, before others": "GRANT SELECT ON sales TO {app}; GRANT SELECT, UPDATE ON sales TO {clerk}",
    "a part, behind others": "GRANT SELECT, UPDATE ON sales TO {clerk}; GRANT UPDATE ON sales TO {app}",
    "everything, before others": """GRANT ALL ON sales, stores, units, tenants TO {app};
        GRANT SELECT ON sales, units TO {clerk}""",
    "only what it must not have": "GRANT TRUNCATE, REFERENCES ON sales TO {app}; GRANT SELECT ON sales TO {clerk}",
    "to be handed on": "GRANT SELECT, TRUNCATE ON sales TO {app} WITH GRANT OPTION; GRANT SELECT ON sales TO {clerk}",
    "from two": """
        GRANT TRUNCATE, SELECT ON sales TO {clerk} WITH GRANT OPTION;
        GRANT TRUNCATE ON sales TO {app};
        SET ROLE {clerk}; GRANT TRUNCATE, SELECT ON sales TO {app}; RESET ROLE;
        GRANT SELECT ON sales TO {other}""",
    "from another alone": """
        GRANT TRUNCATE, REFERENCES ON sales TO {clerk} WITH GRANT OPTION;
        SET ROLE {clerk}; GRANT TRUNCATE, REFERENCES ON sales TO {app}; RESET ROLE;
        GRANT SELECT ON sales TO {other}""",
    "handed on from another, behind which there are more": """
        GRANT TRUNCATE, SELECT ON sales TO {clerk} WITH GRANT OPTION;
        SET ROLE {clerk}; GRANT TRUNCATE ON sales TO {app} WITH GRANT OPTION;
        GRANT SELECT ON sales TO {other}; RESET ROLE;
        GRANT UPDATE ON sales TO {other} WITH GRANT OPTION""",
    "on columns": """
        GRANT SELECT (id, total), UPDATE (total), REFERENCES (id), INSERT (note) ON sales TO {app};
        GRANT SELECT (total) ON sales TO {clerk}; GRANT UPDATE (name), SELECT ON units TO {app}""",
    "on columns, before others": """
        GRANT UPDATE (total), SELECT (total) ON sales TO {app} WITH GRANT OPTION;
        GRANT UPDATE (total) ON sales TO {clerk}; GRANT REFERENCES (total), TRUNCATE ON sales TO {app};
        GRANT REFERENCES ON sales TO {app}; GRANT UPDATE (name) ON units TO {app};
        GRANT UPDATE (name) ON units TO {clerk};
        GRANT UPDATE ON units TO {app}""",
    "on sequences": "GRANT SELECT ON SEQUENCE sales_id_seq TO {app}; GRANT USAGE ON SEQUENCE sales_id_seq TO {clerk}",
    "on the schema": "GRANT CREATE ON SCHEMA {schema} TO {app}; GRANT USAGE ON SCHEMA {schema} TO {clerk}",
    "on the schema, closed to PUBLIC": """
        REVOKE ALL ON SCHEMA {schema} FROM PUBLIC; GRANT CREATE ON SCHEMA {schema} TO {app};
        GRANT USAGE ON SCHEMA {schema} TO {clerk}""",
    "on views": """
        CREATE VIEW totals AS SELECT store, total FROM sales; CREATE MATERIALIZED VIEW sums AS SELECT total FROM sales;
        GRANT ALL ON totals, sums TO {app}; GRANT SELECT ON totals, sums TO {clerk}""",
}  # fmt: skip


@STRIDE
def test_access_lists(database: Database, role: Callable[..., str], stride: int) -> None:
    """A role that was there keeps what it had, each entry from whom it came and at its place."""
    names = {name: role("NOLOGIN", name=name) for name in ("app", "clerk", "other")}
    shops = Shops(database, names["app"])
    for case, grants in each(GRANTS, stride):
        usage = f'GRANT USAGE ON SCHEMA "{case}" TO {names["clerk"]};' if "SET ROLE" in grants else ""
        shops.open(case, usage + grants.format(schema=f'"{case}"', **names))
    shops.there_and_back()


def test_a_careless_undo_shows(database: Database, role: Callable[..., str]) -> None:
    """An entry that is revoked and granted again moves to the end of its list."""
    app, clerk = role("NOLOGIN", name="app"), role("NOLOGIN", name="clerk")
    database.execute(TENANTS + SHOP + f"GRANT SELECT ON sales TO {app}; GRANT SELECT ON sales TO {clerk}")
    before = database.dump()
    database.execute(f"REVOKE SELECT ON sales FROM {app}; GRANT SELECT ON sales TO {app}")
    assert database.dump() != before


def test_what_the_user_granted_since_stays(database: Database, role: Callable[..., str]) -> None:
    """The way back ends what is ours and puts back what was there; what came meanwhile is the user's."""
    app, clerk, other = (role("NOLOGIN", name=name) for name in ("app", "clerk", "other"))
    shops = Shops(database, app)
    shops.open(
        "shop",
        f"""GRANT USAGE ON SCHEMA shop TO {clerk}; GRANT TRUNCATE, SELECT ON sales TO {clerk} WITH GRANT OPTION;
        SET ROLE {clerk}; GRANT TRUNCATE ON sales TO {app}; RESET ROLE; GRANT SELECT ON sales TO {other};
        GRANT INSERT ON sales TO {app}""",
    )
    migrate(Target(database.dsn), shops.spec, MigrateOptions(force=True))
    database.execute(
        f"SET search_path = shop; GRANT INSERT ON sales TO {other}; REVOKE SELECT ON sales FROM {other};"
        f"GRANT UPDATE ON stores TO {other}; REVOKE INSERT ON sales FROM {app}"
    )
    rollback(Target(database.dsn), RollbackOptions())
    held = (
        "SELECT grantee, privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee = ANY (%s) ORDER BY 1, 2"
    )
    assert database.rows(held, [[app, other]]) == [(app, "TRUNCATE"), (other, "INSERT"), (other, "UPDATE")]


# --- views

VIEWS = {
    "no options": "",
    "a barrier": "WITH (security_barrier = true)",
    "a barrier and a check": "WITH (check_option = local, security_barrier = false)",
    "the other order": "WITH (security_barrier = true, check_option = cascaded)",
}
NEWER_VIEWS = {
    "an explicit false": "WITH (security_invoker = false)",
    "an explicit off, in the middle": "WITH (security_barrier = on, security_invoker = off, check_option = local)",
    "one already": "WITH (security_invoker = true, security_barrier = true)",
    "one already, in other words": "WITH (security_invoker, security_barrier)",
    "yes": "WITH (security_barrier = 1, security_invoker = yes)",
}


@STRIDE
@pytest.mark.differs
def test_view_options(shops: Shops, server_version: int, stride: int) -> None:
    """They come back in their order and in their words; a security_invoker is not lost, whatever it says."""
    for case, options in each(VIEWS | NEWER_VIEWS if server_version >= 15 else VIEWS, stride):
        shops.open(case, f"CREATE VIEW totals {options} AS SELECT id, total FROM sales WHERE total > 0")
    shops.there_and_back()


@pytest.mark.pg(">= 15")
def test_careless_view_options_show(database: Database) -> None:
    """SET alone moves an option that was there to the end, and RESET loses an explicit false."""
    database.execute(
        TENANTS
        + SHOP
        + "CREATE VIEW totals WITH (security_invoker = false, security_barrier = true) AS SELECT id FROM sales"
    )
    before = database.dump()
    database.execute(
        "ALTER VIEW totals SET (security_invoker = true); ALTER VIEW totals SET (security_invoker = false)"
    )
    assert database.dump() != before
    database.execute("ALTER VIEW totals RESET (security_invoker)")
    assert database.dump() != before


# --- unique constraints and indexes that become per-tenant

UNIQUES = {
    "a constraint": "ALTER TABLE stores ADD CONSTRAINT u UNIQUE (name)",
    "comments": """ALTER TABLE stores ADD CONSTRAINT u UNIQUE (name); COMMENT ON CONSTRAINT u ON stores IS 'one''s own';
        COMMENT ON INDEX u IS 'index'""",
    "clustered": "ALTER TABLE stores ADD CONSTRAINT u UNIQUE (name); ALTER TABLE stores CLUSTER ON u",
    "replica identity": """ALTER TABLE stores ADD CONSTRAINT u UNIQUE (code);
        ALTER TABLE stores REPLICA IDENTITY USING INDEX u""",
    "deferrable": "ALTER TABLE stores ADD CONSTRAINT u UNIQUE (name) DEFERRABLE",
    "deferred": "ALTER TABLE stores ADD CONSTRAINT u UNIQUE (name) DEFERRABLE INITIALLY DEFERRED",
    "included": "ALTER TABLE stores ADD CONSTRAINT u UNIQUE (name) INCLUDE (code, place)",
    "storage parameters": "ALTER TABLE stores ADD CONSTRAINT u UNIQUE (name) WITH (fillfactor = 70)",
    "an index": "CREATE UNIQUE INDEX u ON stores (name DESC NULLS LAST, code COLLATE \"C\" text_pattern_ops)",
    "an index of some rows": "CREATE UNIQUE INDEX u ON stores (name) INCLUDE (place) WHERE place IS NOT NULL",
    "an expression with statistics": """CREATE UNIQUE INDEX u ON stores (lower(name), (code || 'x'))
        WITH (fillfactor = 80);
        ALTER INDEX u ALTER COLUMN 2 SET STATISTICS 500; COMMENT ON INDEX u IS 'one''s own'""",
    "an index as identity and order": """CREATE UNIQUE INDEX u ON stores (name, code); ALTER TABLE stores CLUSTER ON u;
        ALTER TABLE stores REPLICA IDENTITY USING INDEX u""",
    "two of them": """ALTER TABLE stores ADD CONSTRAINT u UNIQUE (name);
        ALTER TABLE stores ADD CONSTRAINT a UNIQUE (code)""",
}  # fmt: skip
NEWER_UNIQUES = {
    "nulls not distinct": "ALTER TABLE stores ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (name, place)",
    "an index, nulls not distinct": """CREATE UNIQUE INDEX u ON stores (place, name) INCLUDE (code)
        NULLS NOT DISTINCT WHERE id > 0""",
}


@STRIDE
@pytest.mark.differs
def test_uniques(shops: Shops, server_version: int, stride: int) -> None:
    """What becomes per-tenant comes back with all that hung on it."""
    for case, script in each(UNIQUES | NEWER_UNIQUES if server_version >= 15 else UNIQUES, stride):
        shops.open(case, script, unique=("u", "a") if "two" in case else ("u",))
    shops.there_and_back()


def test_a_careless_swap_shows(database: Database) -> None:
    """The constraint alone is not all that hung on it."""
    database.execute(TENANTS + SHOP + UNIQUES["comments"] + ";ALTER TABLE stores CLUSTER ON u")
    before = database.dump()
    database.execute("ALTER TABLE stores DROP CONSTRAINT u; ALTER TABLE stores ADD CONSTRAINT u UNIQUE (name)")
    assert database.dump() != before


# --- the user's own row security, and a tenant column of the user's own

OWN = {
    "a policy, not enabled": "CREATE POLICY mine ON sales USING (total > 0)",
    "enabled": "ALTER TABLE sales ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON sales FOR SELECT USING (total > 0)",
    "forced": """ALTER TABLE sales ENABLE ROW LEVEL SECURITY; ALTER TABLE sales FORCE ROW LEVEL SECURITY;
        CREATE POLICY mine ON sales AS RESTRICTIVE USING (total > 0);
        CREATE POLICY zzz ON sales TO CURRENT_USER USING (true);
        COMMENT ON POLICY mine ON sales IS 'mine'""",
    "forced, not enabled": "ALTER TABLE sales FORCE ROW LEVEL SECURITY",
    "a default": "ALTER TABLE stores ALTER owner SET DEFAULT 1; COMMENT ON COLUMN stores.owner IS 'whose'",
    "a default from a sequence": """CREATE SEQUENCE own_seq OWNED BY stores.owner;
        ALTER TABLE stores ALTER owner SET DEFAULT nextval('own_seq')""",
    "a default of an expression": """CREATE FUNCTION whose() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';
        ALTER TABLE stores ALTER owner SET DEFAULT whose() + 0""",
    "settings of the column": """ALTER TABLE stores ALTER owner DROP NOT NULL;
        ALTER TABLE stores ALTER owner SET STATISTICS 300;
        COMMENT ON COLUMN stores.owner IS 'whose'; ALTER TABLE stores ALTER owner SET (n_distinct = 7);
        CREATE INDEX ON stores (owner)""",
    "not null under a name": """ALTER TABLE stores ALTER owner DROP NOT NULL;
        ALTER TABLE stores ADD CONSTRAINT has_owner CHECK (owner IS NOT NULL)""",
    "an identity, comments, an owned sequence": """ALTER TABLE sales ALTER id DROP DEFAULT; DROP SEQUENCE sales_id_seq;
        ALTER TABLE sales ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START 100);
        COMMENT ON TABLE sales IS 'sold'; CREATE SEQUENCE numbers OWNED BY sales.total""",
}  # fmt: skip
NEWER_OWN = {
    "a named not null": """ALTER TABLE stores ALTER owner DROP NOT NULL;
        ALTER TABLE stores ADD CONSTRAINT has_owner NOT NULL owner""",
    "a named not null, not valid": """ALTER TABLE stores ALTER owner DROP NOT NULL;
        ALTER TABLE stores ADD CONSTRAINT has_owner NOT NULL owner NOT VALID""",
}


@pytest.mark.differs
@STRIDE
@pytest.mark.parametrize("until", daily([Phase.CONTRACT, Phase.ENFORCE]))
def test_what_the_user_had(shops: Shops, until: Phase, server_version: int, stride: int) -> None:
    """Row security that was on stays on, and a tenant column of the user's own keeps what hangs on it."""
    for case, script in each(OWN | NEWER_OWN if server_version >= 18 else OWN, stride):
        shops.open(case, script)
    shops.there_and_back(until)


def test_tables_of_another_owner(shops: Shops, role: Callable[..., str]) -> None:
    """An owner that is not the one who migrates, and that has taken something from itself."""
    owner, clerk = role("NOLOGIN", name="owner"), role("NOLOGIN", name="clerk")
    script = f"GRANT ALL ON SCHEMA theirs TO {owner};" + "".join(
        f"ALTER TABLE {table} OWNER TO {owner};" for table in ("stores", "sales")
    )
    shops.open("theirs", script + f"GRANT SELECT ON sales TO {clerk}; REVOKE DELETE ON sales FROM {owner}")
    shops.there_and_back()
