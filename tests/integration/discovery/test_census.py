"""The census counts what is there, from the user's own columns alone."""

from typing import Any

import psycopg
import pytest

import discovery.ownerships as own
from tenantry.discovery.profile import census
from tenantry.errors import ConnectionFailed
from tenantry.model.evidence import Evidence, PathKind, TableEvidence
from tenantry.model.name import Name
from tenantry.model.ownership import Assignment, Ownership
from tenantry.model.schema import ManagedObjects, Schema
from tenantry.model.spec import Orphans
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.census import run_census

pytestmark = pytest.mark.server

TENANTS = """
    CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
    INSERT INTO tenants VALUES (10, 'north'), (20, 'south');
"""


def session(database: Any, **parameters: Any) -> psycopg.Connection[Any]:
    connection = database.connect(autocommit=True, **parameters)
    connection.execute("SET search_path = pg_catalog")
    return connection


def schema_of(database: Any, ours: ManagedObjects | None = None) -> Schema:
    with session(database) as connection:
        return read_schema(connection, ("*",), managed=ours or ManagedObjects())


def take(database: Any, ownership: Ownership, schema: Schema, **parameters: Any) -> Evidence:
    with session(database, **parameters) as connection:
        return run_census(connection, census(ownership, schema))


def of(evidence: Evidence, table: str) -> TableEvidence:
    return evidence.tables[Name.parse(table, schema="public")]


def counted(evidence: Evidence, table: str) -> tuple[int, int, int]:
    found = of(evidence, table)
    return found.rows, found.orphans, found.conflicts


def counts_by_path(evidence: Evidence, table: str) -> list[tuple[int, int, int]]:
    return [(way.rows, way.alone, way.differs) for way in of(evidence, table).paths]


def test_alternatives_are_counted_with_samples(database: Any) -> None:
    """The first path gives the tenant; paths that disagree make a conflict, and none an orphan."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE schools (id int PRIMARY KEY, tenant_id int REFERENCES tenants);
        CREATE TABLE users (id int PRIMARY KEY, tenant_id int REFERENCES tenants);
        CREATE TABLE orders (id int PRIMARY KEY, school int REFERENCES schools, "by" int REFERENCES users);
        INSERT INTO schools VALUES (1, 10), (2, 20), (3, NULL);
        INSERT INTO users VALUES (1, 10), (2, 20);
        INSERT INTO orders
        VALUES (1, 1, 1), (2, 1, NULL), (3, NULL, 2), (4, 1, 2), (5, NULL, NULL), (6, 3, NULL);
        """
    )
    schema = schema_of(database)
    tables = {
        "schools": {"paths": [["tenant_id"]]},
        "users": {"paths": [["tenant_id"]]},
        "orders": {"paths": [["school"], ["by"]]},
    }
    evidence = take(database, own.ownership(schema, tables), schema)
    assert counted(evidence, "schools") == (3, 1, 0)
    assert counted(evidence, "users") == (2, 0, 0)
    assert counted(evidence, "orders") == (6, 2, 1)
    assert counts_by_path(evidence, "orders") == [(3, 1, 0), (3, 1, 1)]
    orders = of(evidence, "orders")
    assert [sample.key for sample in orders.orphan_samples] == [{"id": 5}, {"id": 6}]
    (conflict,) = orders.conflict_samples
    assert conflict.key == {"id": 4}
    assert list(conflict.tenants.values()) == [("north",), ("south",)]
    assert [table.table.name for table in evidence.refused] == ["schools", "orders"]


def test_children_tell_their_parent(database: Any) -> None:
    """A lot takes its movements' tenant, a movement without a school its lot's; two tenants conflict."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE schools (id int PRIMARY KEY, tenant_id int REFERENCES tenants);
        CREATE TABLE lots (id int PRIMARY KEY);
        CREATE TABLE moves (id int PRIMARY KEY, lot int REFERENCES lots, school int REFERENCES schools);
        CREATE TABLE alerts (id int PRIMARY KEY, lot int REFERENCES lots);
        INSERT INTO schools VALUES (1, 10), (2, 20);
        INSERT INTO lots VALUES (1), (2), (3), (4);
        INSERT INTO moves VALUES (1, 1, 1), (2, 1, NULL), (3, 2, 1), (4, 2, 2), (5, 3, NULL);
        INSERT INTO alerts VALUES (1, 1), (2, 3), (3, NULL);
        """
    )
    schema = schema_of(database)
    tables = {
        "schools": {"paths": [["tenant_id"]]},
        "lots": {"children": ["moves.lot"]},
        "moves": {"paths": [["school"], ["lot"]]},
        "alerts": {"paths": [["lot"]], "orphans": Orphans.SHARED},
    }
    evidence = take(database, own.ownership(schema, tables), schema)
    assert counted(evidence, "lots") == (4, 2, 1)
    assert [sample.key["id"] for sample in of(evidence, "lots").conflict_samples] == [2]
    assert list(of(evidence, "lots").conflict_samples[0].tenants.values()) == [("north", "south")]
    # Movement 4's school disagrees with its lot, which took the tenant of movement 3.
    assert counted(evidence, "moves") == (5, 1, 1)
    assert counted(evidence, "alerts") == (3, 2, 0)
    assert not of(evidence, "alerts").refused


def test_a_default_is_passed_on(database: Any) -> None:
    """Orphans that the spec gives to the default are counted as orphans, and their children find it."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE lots (id int PRIMARY KEY, tenant int REFERENCES tenants);
        CREATE TABLE moves (id int PRIMARY KEY, lot int REFERENCES lots);
        CREATE TABLE groups (id int PRIMARY KEY, parent int REFERENCES groups, tenant int REFERENCES tenants);
        CREATE TABLE items (id int PRIMARY KEY, "group" int REFERENCES groups);
        INSERT INTO lots VALUES (1, 10), (2, NULL);
        INSERT INTO moves VALUES (1, 1), (2, 2);
        INSERT INTO groups
        VALUES (1, NULL, 10), (2, 1, NULL), (3, 2, NULL), (4, NULL, NULL), (5, 4, NULL), (6, 3, 20);
        INSERT INTO items VALUES (1, 3), (2, 5);
        CREATE TABLE crates (id int PRIMARY KEY);
        CREATE TABLE loads (id int PRIMARY KEY, crate int REFERENCES crates, lot int REFERENCES lots);
        INSERT INTO crates VALUES (1), (2); INSERT INTO loads VALUES (1, 1, 1), (2, 2, NULL);
        """
    )
    schema = schema_of(database)
    tables = {
        "lots": {"paths": [["tenant"]], "orphans": Orphans.DEFAULT},
        "moves": {"paths": [["lot"]]},
        "groups": {"paths": [["tenant"], ["parent"]], "orphans": Orphans.QUARANTINE},
        "items": {"paths": [["group"]]},
        "crates": {"children": ["loads.crate"], "orphans": Orphans.DEFAULT},
        "loads": {"paths": [["lot"], ["crate"]]},
    }
    evidence = take(database, own.ownership(schema, tables, default="main", quarantine="quarantine"), schema)
    assert counted(evidence, "lots") == (2, 1, 0)
    assert counted(evidence, "moves") == (2, 0, 0)
    # Group 6 says south, its parent north.
    assert counted(evidence, "groups") == (6, 2, 1)
    assert counted(evidence, "items") == (2, 0, 0)
    # Crate 2 has no lot to tell its tenant, and load 2 takes on what it gets.
    assert counted(evidence, "crates") == (2, 1, 0)
    assert counted(evidence, "loads") == (2, 0, 0)
    assert not of(evidence, "lots").refused


def test_references_into_another_tenant_are_conflicts(database: Any) -> None:
    """A foreign key that is no path, even to the table itself, would get a composite key that fails."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE staff (id int PRIMARY KEY, tenant int REFERENCES tenants, boss int REFERENCES staff);
        CREATE TABLE shops (id int PRIMARY KEY, tenant int REFERENCES tenants, manager int REFERENCES staff);
        ALTER TABLE staff ADD shop int REFERENCES shops;
        INSERT INTO staff VALUES (1, 10, NULL), (2, 20, 1), (3, 20, 2);
        INSERT INTO shops VALUES (1, 10, 1), (2, 20, 1);
        UPDATE staff SET shop = 1;
        """
    )
    schema = schema_of(database)
    tables = {"staff": {"paths": [["tenant"]]}, "shops": {"paths": [["tenant"]]}}
    evidence = take(database, own.ownership(schema, tables), schema)
    assert counted(evidence, "staff") == (3, 0, 2)
    assert counted(evidence, "shops") == (2, 0, 1)
    kinds = [way.kind for way in of(evidence, "staff").paths]
    assert kinds.count(PathKind.REFERENCE) == 2


def test_the_users_own_column_says_it_first(database: Any) -> None:
    """A given column's value counts; a path that differs is a conflict, and fills it where it is NULL."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE shops (id int PRIMARY KEY, tenant_id int REFERENCES tenants);
        CREATE TABLE sales (id int PRIMARY KEY, shop int REFERENCES shops, tenant_id int);
        INSERT INTO shops VALUES (1, 10), (2, 20);
        INSERT INTO sales VALUES (1, 1, 10), (2, 1, 20), (3, 2, NULL), (4, NULL, 99), (5, NULL, 20);
        """
    )
    schema = schema_of(database)
    tables = {
        "shops": {"paths": [["tenant_id"]], "has_own_column": True},
        "sales": {"paths": [["shop"]], "has_own_column": True},
    }
    evidence = take(database, own.ownership(schema, tables), schema)
    assert counted(evidence, "shops") == (2, 0, 0)
    assert counted(evidence, "sales") == (5, 1, 1)
    assert [sample.key for sample in of(evidence, "sales").orphan_samples] == [{"id": 4}]


def test_assignments(database: Any) -> None:
    """Slugs and keys as text, from a column, an expression or a file; one tenant for all needs no look."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE a (id int, "Part" text, owner text, PRIMARY KEY (id, "Part"));
        CREATE TABLE b (id int PRIMARY KEY, code text);
        CREATE TABLE c (id int PRIMARY KEY);
        CREATE TABLE d (id int PRIMARY KEY, c int REFERENCES c, b int REFERENCES b);
        INSERT INTO a VALUES (1, 'x', 'north'), (1, 'y', '20'), (2, 'x', 'nobody');
        INSERT INTO b VALUES (1, 'N1'), (2, 'S1'), (3, NULL);
        INSERT INTO c VALUES (1), (2); INSERT INTO d VALUES (1, 1, NULL), (2, 2, NULL), (3, NULL, NULL);
        """
    )
    schema = schema_of(database)
    tables: dict[str, Any] = {
        "a": {"assign": Assignment(column="owner")},
        "b": {"assign": Assignment(expression="CASE b.code WHEN 'N1' THEN 'north' WHEN 'S1' THEN 'south' END")},
        "c": {"assign": Assignment(tenant="main")},
        "d": {"paths": [["c"]]},
    }
    evidence = take(database, own.ownership(schema, tables, slugs=("main",)), schema)
    assert counted(evidence, "a") == (3, 1, 0)
    assert counted(evidence, "b") == (3, 1, 0)
    assert not of(evidence, "c").counted
    assert counted(evidence, "d") == (3, 1, 0)
    tables["a"] = {"assign": Assignment(rows=(("1", "x", "north"), ("1", "y", "20"), ("2", "x", "none")))}
    assert counted(take(database, own.ownership(schema, tables, slugs=("main",)), schema), "a") == (3, 1, 0)
    tables["a"] = {"assign": Assignment(rows=())}
    assert counted(take(database, own.ownership(schema, tables, slugs=("main",)), schema), "a") == (3, 3, 0)


def test_partitions_heirs_and_hostile_names(database: Any) -> None:
    """Partitions and heirs are counted with their table; a key may name a partition."""
    database.execute(
        TENANTS
        + """
        CREATE SCHEMA "S x";
        CREATE TABLE "S x"."Or""der"
            ("Id" int, "from" int, "relation" int REFERENCES tenants, PRIMARY KEY ("Id", "from"))
            PARTITION BY RANGE ("from");
        CREATE TABLE "S x".low PARTITION OF "S x"."Or""der" FOR VALUES FROM (0) TO (10);
        CREATE TABLE "S x".high PARTITION OF "S x"."Or""der" FOR VALUES FROM (10) TO (20);
        CREATE TABLE lines ("tableoid%" int PRIMARY KEY, "Id" int, "{}" int,
            FOREIGN KEY ("Id", "{}") REFERENCES "S x"."Or""der");
        CREATE TABLE notes (id int PRIMARY KEY, o int, f int, FOREIGN KEY (o, f) REFERENCES "S x".low);
        CREATE TABLE base (id int PRIMARY KEY, tenant int REFERENCES tenants);
        CREATE TABLE heir () INHERITS (base);
        CREATE TABLE of_base (base int REFERENCES base);
        INSERT INTO "S x"."Or""der" VALUES (1, 1, 10), (1, 11, 20), (2, 12, NULL);
        INSERT INTO lines VALUES (1, 1, 1), (2, 1, 11), (3, 2, 12), (4, 1, NULL);
        INSERT INTO notes VALUES (1, 1, 1);
        INSERT INTO base VALUES (1, 10); INSERT INTO heir VALUES (1, 20), (2, NULL);
        INSERT INTO of_base VALUES (1), (NULL);
        """
    )
    schema = schema_of(database)
    tables = {
        '"S x"."Or""der"': {"paths": [["relation"]]},
        "lines": {"paths": [[("Id", "{}")]]},
        "notes": {"paths": [[("o", "f")]]},
        "base": {"paths": [["tenant"]]},
        "of_base": {"paths": [["base"]]},
    }
    evidence = take(database, own.ownership(schema, tables), schema)
    assert counted(evidence, '"S x"."Or""der"') == (3, 1, 0)
    assert counted(evidence, "lines") == (4, 2, 0)
    assert counted(evidence, "notes") == (1, 0, 0)
    assert counted(evidence, "base") == (3, 1, 0)
    # The key to base does not see the heir's row of the same number.
    assert counted(evidence, "of_base") == (2, 1, 0)
    assert set(of(evidence, "of_base").orphan_samples[0].key) == {"ctid", "table"}


def test_a_half_migrated_database_gives_the_same_answer(database: Any) -> None:
    """What a migration has filled so far is not looked at: the user's own columns are."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE shops (id int PRIMARY KEY, tenant_id int REFERENCES tenants);
        CREATE TABLE sales (id int PRIMARY KEY, shop int REFERENCES shops);
        INSERT INTO shops VALUES (1, 10), (2, 20); INSERT INTO sales VALUES (1, 1), (2, 2), (3, NULL);
        """
    )
    tables = {"shops": {"paths": [["tenant_id"]], "has_own_column": True}, "sales": {"paths": [["shop"]]}}
    schema = schema_of(database)
    before = take(database, own.ownership(schema, tables), schema)
    database.execute("ALTER TABLE sales ADD tenant_id int REFERENCES tenants; UPDATE sales SET tenant_id = 20")
    name = Name("public", "sales")
    schema = schema_of(database, ManagedObjects(tables=frozenset({name}), columns={name: "tenant_id"}))
    assert take(database, own.ownership(schema, tables), schema) == before
    assert counted(before, "sales") == (3, 1, 0)


def test_several_hops_and_several_parents(database: Any) -> None:
    """A path may go through shared tables; a reference to several parents needs them to agree."""
    database.execute(
        TENANTS
        + """
        CREATE TABLE shops (id int PRIMARY KEY, tenant int REFERENCES tenants);
        CREATE TABLE areas (id int PRIMARY KEY, shop int REFERENCES shops);
        CREATE TABLE visits (id int PRIMARY KEY, area int REFERENCES areas);
        CREATE TABLE codes (code text, shop int REFERENCES shops);
        CREATE TABLE uses (id int PRIMARY KEY, code text);
        INSERT INTO shops VALUES (1, 10), (2, 20); INSERT INTO areas VALUES (1, 1), (2, 2), (3, NULL);
        INSERT INTO visits VALUES (1, 1), (2, 2), (3, 3);
        INSERT INTO codes VALUES ('a', 1), ('a', 1), ('b', 1), ('b', 2), ('c', NULL);
        INSERT INTO uses VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
        """
    )
    schema = schema_of(database)
    tables: dict[str, Any] = {
        "shops": {"paths": [["tenant"]]},
        "visits": {"paths": [["area", "shop"]]},
        "codes": {"paths": [["shop"]]},
        "uses": {},
    }
    plain = own.ownership(schema, tables)
    codes, text = Name("public", "codes"), ("pg_catalog", "=")
    reference = own.Path(
        hops=(own.Hop(columns=("code",), parent=codes, parent_columns=("code",), operators=(text,), unique=False),)
    )
    components = [
        tuple(own.replace(one, paths=(reference,)) if one.table.name == "uses" else one for one in component)
        for component in plain.components
    ]
    components.sort(key=lambda component: component[0].table.name == "uses")
    evidence = take(database, own.replace(plain, components=tuple(components)), schema)
    assert counted(evidence, "visits") == (3, 1, 0)
    assert counted(evidence, "uses") == (4, 2, 1)


def test_a_tenant_table_that_is_still_to_be_made(database: Any) -> None:
    """With create = true the tenants are those that the spec names."""
    database.execute(
        "CREATE TABLE items (id int PRIMARY KEY, owner text); INSERT INTO items VALUES (1, 'main'), (2, 'x')"
    )
    schema = schema_of(database)
    tables = {"items": {"assign": Assignment(column="owner")}}
    resolved = own.ownership(schema, tables, type="uuid", create=True, default="main")
    assert counted(take(database, resolved, schema), "items") == (2, 1, 0)


def test_nothing_is_left_behind_and_no_temporary_table_is_an_error(database: Any, role: Any) -> None:
    """The census leaves no trace; without the right to temporary tables it says which grant it needs."""
    database.execute(TENANTS + "CREATE TABLE a (id int PRIMARY KEY, t int REFERENCES tenants)")
    schema = schema_of(database)
    resolved = own.ownership(schema, {"a": {"paths": [["t"]]}})
    before = database.dump()
    take(database, resolved, schema)
    assert database.dump() == before
    user = role("LOGIN")
    database.execute(f'REVOKE TEMPORARY ON DATABASE "{database.name}" FROM PUBLIC')
    with pytest.raises(ConnectionFailed, match="temporary tables") as caught:
        take(database, resolved, schema, user=user)
    assert "GRANT TEMPORARY" in caught.value.remedy
    database.execute(f'GRANT TEMPORARY ON DATABASE "{database.name}" TO PUBLIC')
    with pytest.raises(ConnectionFailed, match="permission denied for table tenants"):
        take(database, resolved, schema, user=user)
