from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from servers import Database
from tenantry.errors import Failed, UsageError
from tenantry.model.name import Name
from tenantry.model.schema import ForeignKey, Grant, Index, Kind, ManagedObjects, Policy, Schema, Trigger, Unique
from tenantry.postgres.catalog import read_schema
from tenantry.postgres.connect import Target, connect

pytestmark = [pytest.mark.server, pytest.mark.differs("postgres/sql/catalog.sql")]
NASTY = Path(__file__).with_name("nasty.sql")
ODD = Name('Odd "Schema".x', "naïve_table_with_a_name_of_63_bytes_ééééééééééééé")
EQUAL = ("pg_catalog", "=")
NOTHING = ManagedObjects()


def public(name: str) -> Name:
    return Name("public", name)


def read(
    database: Database, schemas: Sequence[str] = ("*",), managed: ManagedObjects = NOTHING, user: str = ""
) -> Schema:
    dsn = f"{database.dsn} user={user}" if user else database.dsn
    with connect(Target(dsn), purpose="test") as connection:
        return read_schema(connection, schemas, managed=managed)


@pytest.fixture
def nasty(template: Callable[..., Database]) -> Database:
    return template("nasty", lambda database: database.load(NASTY))


# -- One schema with everything that a reader can get wrong


def test_columns(nasty: Database) -> None:
    """Types are qualified, domains are unwrapped with their modifiers, dropped columns are gone."""
    columns = {column.name: column for column in read(nasty).tables[public("order")].columns}
    assert list(columns) == ["select", "a.b", 'Qty "x"', "twice", "tags"]
    assert (columns["select"].identity, columns["select"].not_null) == ("a", True)
    code = columns["a.b"]
    assert (code.type, code.base_type, code.domain) == ("public.strict_code", "character varying(12)", True)
    assert (columns['Qty "x"'].type, columns['Qty "x"'].default) == ("numeric(10,2)", "1.50")
    assert (columns["twice"].generated, columns["twice"].domain) == ("s", False)
    assert columns["twice"].default == '("Qty ""x""" * (2)::numeric)'
    assert columns["tags"].type == "text[]"


def test_uniques(nasty: Database) -> None:
    """Constraints and indexes, with what an index on more columns needs, whatever is in the names."""
    uniques = {unique.name: unique for unique in read(nasty).tables[public("order")].uniques}
    assert uniques == {
        "order_pkey": Unique(
            name="order_pkey",
            columns=("select",),
            constraint=True,
            primary=True,
            rest='"select")',
            referenced=True,
        ),
        "Code USING btree (": Unique(
            name="Code USING btree (", columns=("a.b",), constraint=True, rest='"a.b")', referenced=True
        ),
        "later": Unique(
            name="later",
            columns=("twice", 'Qty "x"'),
            constraint=True,
            deferrable=True,
            deferred=True,
            rest='twice, "Qty ""x""")',
        ),
        "on x USING btree (y": Unique(
            name="on x USING btree (y",
            columns=(),
            constraint=False,
            partial=True,
            rest='lower(("a.b")::text)) WHERE ("Qty ""x""" > (0)::numeric)',
        ),
        "including": Unique(
            name="including", columns=('Qty "x"',), constraint=False, rest='"Qty ""x""" DESC) INCLUDE (tags)'
        ),
    }


def test_rest_rebuilds_the_index(nasty: Database) -> None:
    """An index made with `rest` behind one more column is what it was, and that column."""
    order = read(nasty).tables[public("order")]
    for unique in order.uniques:
        nasty.execute(f'CREATE UNIQUE INDEX again ON "order" USING btree ("select", {unique.rest}; DROP INDEX again')


def test_other_indexes(nasty: Database) -> None:
    """Indexes that are not unique; exclusion constraints stand among the unique ones."""
    tables = read(nasty).tables
    rest = 'twice, ((twice + (1)::numeric)), "a.b" varchar_pattern_ops)'
    assert tables[public("order")].indexes == (
        Index(name="gin_tags", columns=("tags",), method="gin", rest="tags)"),
        Index(name="mixed", columns=("twice", None, "a.b"), rest=rest),
    )
    apart = Unique(name="apart", columns=("during",), constraint=True, exclusion=True, rest="during)")
    assert apart in tables[public("child")].uniques


def test_foreign_keys(nasty: Database) -> None:
    """Columns in the order of the key, actions, operators with the parent on the left."""
    tables = read(nasty).tables
    order = ForeignKey(name="", columns=(), parent=public("order"), parent_columns=("select",), operators=(EQUAL,))
    assert tables[public("child")].foreign_keys == (
        replace(order, name="by_code", columns=("code",), parent_columns=("a.b",), validated=False),
        replace(
            order, name="child_ord_fkey", columns=("ord",),
            on_delete="c", on_update="r", deferrable=True, deferred=True,
        ),
        replace(
            order, name="child_self_fkey", columns=("self",), parent=public("child"), parent_columns=("id",),
            on_delete="d",
        ),
        ForeignKey(
            name="two", columns=("parent_a", "parent_b"), parent=ODD, parent_columns=("a", "b"),
            operators=(EQUAL, EQUAL), match="f",
        ),
    )  # fmt: skip


def test_partitions(nasty: Database) -> None:
    """The tree, whatever its schemas; inherited keys are marked, and twins of keys are left out."""
    schema = read(nasty, ["public"])
    leaf = Name("elsewhere", "measured_north_2024")
    assert [table.name for table in schema.tree(public("measured"))] == [
        public("measured"), public("measured_north"), leaf, public("measured_rest"),
    ]  # fmt: skip
    assert Name("elsewhere", "unrelated") not in schema.tables
    assert schema.tables[public("measured")].partition_key == ("region",)
    assert schema.tables[public("hashed")].partition_key == ("id",)
    assert (schema.tables[leaf].kind, schema.tables[leaf].inherits) == (Kind.TABLE, ())
    [key] = schema.tables[leaf].foreign_keys
    assert (key.parent, key.inherited) == (public("order"), True)
    [key] = schema.tables[public("measured")].foreign_keys
    assert not key.inherited
    [key] = schema.tables[public("reading")].foreign_keys
    assert (key.parent, key.on_delete, key.inherited) == (public("measured"), "n", False)
    [unique] = schema.tables[public("measured")].uniques
    assert (unique.inherited, unique.part_of, unique.primary, unique.rest) == (False, "", True, "id, region, at)")
    whole = unique.name
    [unique] = schema.tables[leaf].uniques
    assert (unique.inherited, unique.primary, unique.rest) == (True, True, "id, region, at)")
    assert unique.part_of in (whole, *(one.name for one in schema.tables[schema.tables[leaf].partition_of].uniques))
    assert schema.tables[leaf].triggers == tuple(
        replace(trigger, inherited=True) for trigger in schema.tables[public("measured")].triggers
    )


def test_inheritance(nasty: Database) -> None:
    """Heirs name all their parents, in order."""
    schema = read(nasty)
    assert schema.tables[public("seal")].inherits == (public("wet"), public("dog"))
    assert {heir.name for heir in schema.heirs(public("animal"))} == {public("dog"), public("seal")}


def test_triggers_rules_and_policies(nasty: Database) -> None:
    """What fires on a row, what rewrites a statement, what hides rows."""
    tables = read(nasty).tables
    stamp = Trigger(
        name="Stamp", before=True, row=True, events=("INSERT", "UPDATE"), enabled="O",
        function=public("stamp"), source=" BEGIN RETURN NEW; END ", security_definer=True,
    )  # fmt: skip
    assert tables[public("measured")].triggers == (stamp,)
    [late] = tables[public("child")].triggers
    assert (late.name, late.constraint, late.enabled, late.events) == ("late", True, "D", ("DELETE",))
    assert tables[public("silent")].rules == ("swallow it",)
    assert tables[public("child")].policies == (
        Policy(name="Mine only", permissive=False, command="UPDATE", roles=("PUBLIC",)),
        Policy(name="all_of_it", permissive=True, command="ALL", roles=("PUBLIC",)),
    )
    assert (tables[public("child")].row_security, tables[public("child")].forced) == (True, False)


def test_what_belongs_to_a_table(nasty: Database) -> None:
    """Sequences of serial and identity columns, replica identity, publications, users of the row type."""
    tables = read(nasty).tables
    [serial] = tables[ODD].sequences
    assert serial.schema == ODD.schema
    assert tables[public("order")].sequences == (public("order_select_seq"),)
    assert tables[public("child")].replica_identity == "f"
    published = {name for name, table in tables.items() if table.published}
    leaf = Name("elsewhere", "measured_north_2024")
    assert published == {
        public("child"), public("measured"), public("measured_north"), public("measured_rest"), leaf,
    }  # fmt: skip
    assert tables[public("animal")].type_used_by == ("public.holder.many", "public.holder.one")
    assert tables[public("child")].type_used_by == ()


def test_views(nasty: Database) -> None:
    """Views of the schemas, and those elsewhere that read their tables through other views."""
    views = read(nasty, ["public"]).views
    assert views[public("v1")].options == ("security_barrier=true",)
    assert views[Name("elsewhere", "v 2")].reads == (public("child"), public("v1"))
    assert views[Name("elsewhere", "m3")].reads == (Name("elsewhere", "v 2"),)
    assert views[Name("elsewhere", "m3")].kind is Kind.MATERIALIZED_VIEW
    assert 'FROM elsewhere."v 2"' in views[Name("elsewhere", "m3")].definition
    assert set(views) == {public("v1"), Name("elsewhere", "v 2"), Name("elsewhere", "m3")}


def test_functions(nasty: Database) -> None:
    """Functions of every schema, with the table whose rows they return, and the body in either syntax."""
    functions = {function.name: function for function in read(nasty, ["public"]).functions}
    dogs = functions[Name("elsewhere", "dogs")]
    assert (dogs.signature, dogs.returns_table) == ("elsewhere.dogs(text,integer)", public("dog"))
    assert dogs.source == "SELECT * FROM public.dog"
    assert 'FROM public."order"' in functions[public("standard")].source
    assert functions[public("stamp")].security_definer
    assert set(functions) == {dogs.name, public("standard"), public("stamp")}


def test_ours_is_left_out(nasty: Database) -> None:
    """What has our name, stands in our schema, or is said to be ours; columns also below the table."""
    tables = frozenset({public("animal"), public("measured")})
    managed = ManagedObjects(
        tables=tables,
        columns=dict.fromkeys(tables, "tenant_id"),
        created=frozenset({public("tenants")}),
        preserved=frozenset({public("child")}),
    )
    before, schema = read(nasty), read(nasty, managed=managed)
    with_column = {name for name, table in before.tables.items() if table.column("tenant_id")}
    assert with_column == {name for root in tables for name in (root, *below(before, root))}
    assert not any(table.column("tenant_id") for table in schema.tables.values())
    assert public("tenants") not in schema.tables
    # Only a foreign key of ours depends on it, which is no reason to leave it alone.
    assert not before.tables[public("tenants")].uniques[0].referenced
    assert schema.preserved == {public("child")}
    animal = schema.tables[public("animal")]
    assert [unique.name for unique in animal.uniques] == ["animal_pkey"]
    assert (animal.indexes, animal.foreign_keys, animal.policies, animal.triggers) == ((), (), (), ())
    assert "tenantry" not in schema.schemas
    assert Name("tenantry", "peek") not in schema.views


def below(schema: Schema, name: Name) -> set[Name]:
    return {table.name for table in (*schema.partitions(name), *schema.heirs(name))}


def test_users_own_column_below_ours_stays(database: Database) -> None:
    """An heir that has a column of that name of its own keeps it."""
    database.load("CREATE TABLE a (id int); CREATE TABLE b (tenant_id int) INHERITS (a);")
    managed = ManagedObjects(tables=frozenset({public("a")}), columns={public("a"): "tenant_id"})
    assert read(database, managed=managed).tables[public("b")].column("tenant_id") is not None


# -- What only later versions have


@pytest.mark.pg(">= 15")
def test_columns_set_null_and_nulls_not_distinct(database: Database) -> None:
    """The column list of SET NULL, and a unique key in which NULLs are equal."""
    database.load(
        "CREATE TABLE p (a int, b int, PRIMARY KEY (a, b));"
        "CREATE TABLE c (x int, y int, FOREIGN KEY (x, y) REFERENCES p ON DELETE SET NULL (y),"
        "                CONSTRAINT u UNIQUE NULLS NOT DISTINCT (x));"
        "CREATE SCHEMA s; CREATE TABLE s.t (); CREATE PUBLICATION p FOR TABLES IN SCHEMA s;"
    )
    schema = read(database)
    [key] = schema.tables[public("c")].foreign_keys
    assert (key.on_delete, key.delete_columns) == ("n", ("y",))
    assert schema.tables[public("c")].uniques[0].rest == "x) NULLS NOT DISTINCT"
    assert schema.tables[Name("s", "t")].published
    assert not schema.tables[public("c")].published


@pytest.mark.pg(">= 18")
def test_virtual_columns_and_unvalidated_not_null(database: Database) -> None:
    """A NOT NULL that is not validated promises nothing; keys over periods are exclusions."""
    database.load(
        "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a + 1), id int4range, at daterange,"
        "                CONSTRAINT k PRIMARY KEY (id, at WITHOUT OVERLAPS));"
        "ALTER TABLE t ADD CONSTRAINT later NOT NULL a NOT VALID;"
        "CREATE TABLE u (id int4range, at daterange);"
        "ALTER TABLE u ADD CONSTRAINT f FOREIGN KEY (id, PERIOD at) REFERENCES t NOT ENFORCED;"
    )
    tables = read(database).tables
    table = tables[public("t")]
    assert {column.name: (column.not_null, column.generated) for column in table.columns} == {
        "a": (False, ""), "b": (False, "v"), "id": (True, ""), "at": (True, ""),
    }  # fmt: skip
    [key] = table.uniques
    assert (key.exclusion, key.primary, key.rest) == (True, True, "id, at)")
    assert not tables[public("u")].foreign_keys[0].validated


# -- Roles and privileges


def test_grants(database: Database, role: Callable[..., str]) -> None:
    """Each privilege with who granted it, on tables, columns and views, in the order of the list."""
    owner, reader, other = (
        role(name="owner"),
        role("NOLOGIN", name='Rea"der'.replace('"', "_")),
        role(name="o"),
    )
    database.load(
        f"CREATE TABLE t (a int, b int); ALTER TABLE t OWNER TO {owner}; SET ROLE {owner};"
        f'GRANT SELECT ON t TO "{reader}" WITH GRANT OPTION; GRANT UPDATE (b) ON t TO PUBLIC;'
        f'SET ROLE "{reader}"; GRANT SELECT ON t TO {other}; RESET ROLE;'
        f"CREATE VIEW v AS SELECT * FROM t; GRANT INSERT ON v TO {other}; CREATE TABLE plain ();"
    )
    schema = read(database)
    table = schema.tables[public("t")]
    assert table.owner == owner
    assert [grant for grant in table.grants if grant.grantee != owner] == [
        Grant(grantor=owner, grantee=reader, privilege="SELECT", grantable=True),
        Grant(grantor=reader, grantee=other, privilege="SELECT"),
        Grant(grantor=owner, grantee="PUBLIC", privilege="UPDATE", column="b"),
    ]
    assert Grant(grantor="postgres", grantee=other, privilege="INSERT") in schema.views[public("v")].grants
    assert {grant.grantee for grant in schema.tables[public("plain")].grants} == {"postgres"}


def test_roles(database: Database, role: Callable[..., str]) -> None:
    """Whose privileges a role has by itself: through others too, not where it would have to ask for them."""
    top, middle, bottom, asks = role(name="top"), role(name="middle"), role(name="bottom"), role("NOINHERIT")
    bypassing = role("NOLOGIN BYPASSRLS CREATEROLE")
    database.load(
        f"GRANT {top} TO {middle}; GRANT {middle} TO {bottom}; GRANT {top} TO {asks};"
        f"GRANT pg_read_all_data TO {asks}, {top}; GRANT {top} TO postgres;"
    )
    roles = read(database).roles
    assert roles[bottom].usage_of == (middle, "pg_read_all_data", top)
    assert roles[asks].usage_of == ()
    assert roles["postgres"].usage_of == ()
    assert (roles["postgres"].superuser, roles[bottom].superuser) == (True, False)
    assert (roles[bypassing].bypasses, roles[bypassing].create_role, roles[bypassing].login) == (
        True,
        True,
        False,
    )
    assert not any(name.startswith("pg_") for name in roles)


def test_role_without_privileges_reads_all(nasty: Database, role: Callable[..., str]) -> None:
    """The catalog is open: a role that may not read a table still sees what it is."""
    mine, theirs = read(nasty), read(nasty, user=role())
    assert theirs.tables.keys() == mine.tables.keys()
    assert theirs.tables[public("order")] == mine.tables[public("order")]
    assert theirs.views == mine.views


# -- The reading


def test_unknown_schema(database: Database) -> None:
    """An unknown schema is wrong usage, and the nearest is named; the server's and ours are none."""
    database.execute("CREATE SCHEMA warehouse; CREATE SCHEMA tenantry")
    with pytest.raises(UsageError, match='"wharehouse" does not exist; did you mean "warehouse"'):
        read(database, ["public", "wharehouse"])
    for name in ("pg_catalog", "information_schema", "tenantry"):
        with pytest.raises(UsageError):
            read(database, [name])
    assert read(database).schemas == ("public", "warehouse")
    assert read(database, ["warehouse", "public", "warehouse"]).schemas == ("warehouse", "public")


def test_objects_of_extensions_are_not_the_users(database: Database) -> None:
    """Tables, views and functions that an extension brought are left out."""
    database.load(
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE t (); CREATE TABLE mine ();"
        "CREATE VIEW v AS SELECT * FROM t;"
        "ALTER EXTENSION plpgsql ADD FUNCTION f(); ALTER EXTENSION plpgsql ADD TABLE t;"
        "ALTER EXTENSION plpgsql ADD VIEW v;"
    )
    schema = read(database)
    assert (set(schema.tables), dict(schema.views), schema.functions) == ({public("mine")}, {}, ())


def test_figures(database: Database) -> None:
    """Rows are estimates, summed over partitions; bytes are with indexes."""
    database.load(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (600); CREATE TABLE t2 PARTITION OF t DEFAULT;"
        "INSERT INTO t SELECT generate_series(1, 1000); CREATE TABLE never_analyzed ();"
    )
    with database.connect(autocommit=True) as connection:
        connection.execute("ANALYZE t1, t2")
    schema = read(database)
    rows = {name.name: table.rows for name, table in schema.tables.items()}
    assert rows == {"t": 1000, "t1": 599, "t2": 401, "never_analyzed": 0}
    [(size,)] = database.rows("SELECT pg_total_relation_size('t1')")
    assert schema.tables[public("t1")].bytes == size > 8192
    assert (schema.version // 10000, schema.database) == (database.server.major, database.name)


def test_invalid_index(database: Database) -> None:
    """What a failed CREATE INDEX CONCURRENTLY leaves behind is not valid."""
    database.load("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (1);")
    with database.connect(autocommit=True) as connection, pytest.raises(Exception, match="could not create"):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON t (id)")
    [unique] = read(database).tables[public("t")].uniques
    assert (unique.valid, unique.constraint) == (False, False)


def test_inside_a_transaction(database: Database) -> None:
    """In a transaction of the caller it sees what that one has done, and leaves it open."""
    with connect(Target(database.dsn), purpose="test") as connection, connection.transaction():
        connection.execute("CREATE TABLE public.fresh (id int)")
        assert public("fresh") in read_schema(connection, ["public"], managed=NOTHING).tables
        connection.execute("DROP TABLE public.fresh")


def test_table_kept_by_another_session(nasty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait without end for a table that is locked, and names who keeps it."""
    monkeypatch.setattr("tenantry.postgres.catalog.LONGEST_WAIT", 1)
    with nasty.connect(application_name="vacuum") as holder:
        holder.execute('LOCK TABLE "order"')
        with pytest.raises(Failed) as caught:
            read(nasty)
    assert any("vacuum" in line and "on public.order" in line for line in caught.value.details)


# -- Real and large schemas


@pytest.mark.parametrize(
    ("name", "tables", "keys", "views"),
    [("northwind", 14, 13, 0), ("chinook", 11, 11, 0), ("adventureworks", 68, 89, 89)],
)
def test_real_databases(realdb: Callable[[str], Database], name: str, tables: int, keys: int, views: int) -> None:
    """All of a real database is read."""
    database = realdb(name)
    schema = read(database)
    found = list(schema.tables.values())
    assert (len(found), sum(len(table.foreign_keys) for table in found), len(schema.views)) == (
        tables,
        keys,
        views,
    )
    assert all(unique.rest for table in found for unique in table.uniques)


def statements(action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many the action sends."""
    counted, execute = [0], psycopg.Cursor.execute

    def count(self: Any, *arguments: Any, **options: Any) -> Any:
        counted[0] += 1
        return execute(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", count)
        action()
    return counted[0]


def test_many_tables(new_database: Callable[[], Database], monkeypatch: pytest.MonkeyPatch) -> None:
    """600 tables with 2,200 foreign keys: as many statements as for one table, and seconds even on a slow machine."""
    small, database = new_database(), new_database()
    small.execute("CREATE TABLE t (id int PRIMARY KEY, a int REFERENCES t)")
    database.load(
        """
        DO $$ BEGIN
            FOR i IN 1..600 LOOP
                EXECUTE format(
                    'CREATE TABLE t%s (id int PRIMARY KEY, a int, b int, c int, d int, e text UNIQUE)', i);
            END LOOP;
            FOR i IN 0..2199 LOOP
                EXECUTE format('ALTER TABLE t%s ADD FOREIGN KEY (%I) REFERENCES t%s',
                               i % 600 + 1, substr('abcd', i / 600 + 1, 1), (i * 7) % 600 + 1);
            END LOOP;
        END $$
        """
    )
    assert statements(lambda: read(database), monkeypatch) == statements(lambda: read(small), monkeypatch)
    begun = time.monotonic()
    schema = read(database)
    assert time.monotonic() - begun < 15
    assert sum(len(table.foreign_keys) for table in schema.tables.values()) == 2200
