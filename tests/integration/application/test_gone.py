"""What triggers do where what they name is gone, and after a dump and a restore."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from application.conftest import Business, Businesses
from application.migrations import BY_NAME, NONE
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, migrate, rollback, status, validate
from tenantry.errors import ExitStatus
from tenantry.model.backup import BackupKind
from tenantry.model.name import quoted
from tenantry.model.plan import Phase
from tenantry.model.spec import Orphans, Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server


def test_the_only_tenant(businesses: Businesses) -> None:
    """A row to which no path leads any more belongs to the only tenant there is; with two, nobody knows whose it is."""
    business = businesses.migrated(Phase.BACKFILL, NONE)
    execute, rows = business.database.execute, business.database.rows
    execute("ALTER TABLE goods DROP COLUMN store_id")
    execute("INSERT INTO goods (id) VALUES (1000)")
    execute("UPDATE goods SET id = id")
    assert rows("SELECT id FROM goods WHERE tenant_id IS NULL") == [(1000,)]
    execute("DELETE FROM lines; DELETE FROM goods; DELETE FROM items; DELETE FROM notes; DELETE FROM shop.returns;"
            " DELETE FROM logs; DELETE FROM lots; DELETE FROM shelves; DELETE FROM stores; DELETE FROM tenants WHERE id <> 2")  # fmt: skip
    execute("INSERT INTO goods (id) VALUES (1001)")
    assert rows("SELECT id, tenant_id FROM goods") == [(1001, 2)]


@pytest.mark.parametrize("order", ["the spec first", "the drop first"])
def test_the_only_path_is_dropped(businesses: Businesses, order: str) -> None:
    """From enforce on a row of nobody knows which of several tenants is refused, and all else goes on; the spec says by
    what else its owner is found, before the application drops the path (then nothing is refused) or after."""
    business = businesses.migrated(Phase.ENFORCE, NONE)
    database, target, before = business.database, business.target, business.spec
    (goods,) = (one for one in before.table if one.name == "goods")
    other = goods.model_copy(update={"paths": ((("shelf_id",),),), "orphans": Orphans.DEFAULT})
    spec = before.model_copy(update={"table": tuple(other if one is goods else one for one in before.table)})
    options = MigrateOptions(until=Phase.ENFORCE, backup=BackupKind.NONE, force=True)
    if order == "the spec first":
        assert migrate(target, spec, options).exit_status is ExitStatus.DONE
    database.execute("ALTER TABLE goods DROP COLUMN store_id")
    if order == "the drop first":
        with pytest.raises(psycopg.errors.NotNullViolation, match='"tenant_id" of relation "goods"'):
            database.execute("INSERT INTO goods (id, shelf_id) VALUES (1000, 2)")
        database.execute("UPDATE goods SET id = id + 100; UPDATE goods SET id = id - 100")
        assert any(
            "goods was dropped since it was migrated: choose another path in the spec" in one
            for one in status(target, before).misfits
        )
        assert migrate(target, spec, options).exit_status is ExitStatus.DONE
    database.execute("INSERT INTO shelves (id, store_id) VALUES (900, 1), (901, 2)")
    database.execute("INSERT INTO goods (id, shelf_id) VALUES (1000, 900), (1001, 901), (1002, NULL)")
    # Whose the last one is may show later still: it waits.
    written = "SELECT id, tenant_id FROM goods WHERE id >= 1000 ORDER BY id"
    assert database.rows(written) == [(1000, 2), (1001, 1), (1002, None)]
    assert business.rollback().exit_status is ExitStatus.DONE


def test_dump_and_restore(businesses: Businesses) -> None:
    """OIDs and the numbers of columns are others in the restored database: it goes on all the same, and back."""
    business = businesses.migrated(Phase.ENFORCE, NONE)
    business.database.execute(
        "ALTER TABLE lines ADD a int, ADD b int; ALTER TABLE lines DROP a; ALTER TABLE lots ADD a int; ALTER TABLE lots DROP a"
    )
    restored = replace(business, database=businesses.restored(business.database))
    restored.write(1000)
    restored.assert_right_tenants()
    restored.database.execute("ALTER TABLE lots RENAME TO batches; ALTER TABLE batches RENAME store_id TO store")
    with restored.database.connect(autocommit=True) as connection:
        connection.execute("INSERT INTO batches (id, store) VALUES (2000, 1)")
        connection.execute("INSERT INTO lines (id, lot_id) VALUES (2000, 2000)")
    assert restored.database.rows("SELECT tenant_id FROM lines WHERE id = 2000") == [(2,)]
    assert restored.rollback().exit_status is ExitStatus.DONE


def test_says_what_was_renamed_or_dropped(businesses: Businesses) -> None:
    """One sentence of what to do; a rollback notes what went along in one line."""
    business = businesses.migrated(Phase.ENFORCE, NONE)
    business.database.execute("ALTER TABLE lots RENAME store_id TO store; DROP TABLE shop.returns")
    said = {finding.message for finding in validate(business.target, business.spec).findings}
    assert any(
        "the column 'store_id' of public.lots was renamed to 'store': change the name in the spec" in one
        for one in said
    )
    assert any("shop.returns was dropped since it was migrated: remove it from the spec" in one for one in said)
    misfits = status(business.target, business.spec).misfits
    for words in ("change the name in the spec", "remove it from the spec"):
        assert any(words in one for one in misfits)
    result = business.rollback()
    assert result.exit_status is ExitStatus.DONE, result.findings


def test_emergency_takes_triggers_away(businesses: Businesses) -> None:
    """Whatever others have done to what a trigger names."""
    business = businesses.migrated(Phase.ISOLATE, BY_NAME["parent renamed"])
    business.alter()
    business.database.execute(
        "ALTER TABLE lines DROP COLUMN store_id CASCADE; DROP TABLE crates CASCADE; DROP TABLE logs"
    )
    business.rollback(preserve_data=True, force=True)
    left = "SELECT tgname FROM pg_trigger WHERE tgname LIKE '%tenantry%'"
    assert business.database.rows(left) == []


def test_another_role_takes_the_name(businesses: Businesses) -> None:
    """A view that somebody puts into the place of a table is not asked with the owner's rights."""
    business = businesses.migrated(Phase.ENFORCE, NONE)
    business.database.execute(
        "ALTER TABLE stores RENAME TO stores_old; CREATE FUNCTION fail() RETURNS int LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'called'; END$$; CREATE VIEW stores AS SELECT fail() AS id, 1 AS org"
    )
    business.database.execute("INSERT INTO lots (id, store_id) VALUES (1000, 2)")
    with pytest.raises(psycopg.errors.RaiseException, match="called"):
        business.database.rows("SELECT * FROM stores")


def test_another_type(businesses: Businesses) -> None:
    """A session that has written before goes on when columns along paths get another type."""
    business = businesses.migrated(Phase.ENFORCE, NONE)
    with business.database.connect(autocommit=True) as session:
        for statement in NONE.writes(1000):
            session.execute(statement)
        for table, column in (("notes", "store_id"), ("items", "crate_id"), ("goods", "shelf_id"), ("logs", "lot_id"),
                              ("shop.returns", "lot_id")):  # fmt: skip
            business.database.execute(f"ALTER TABLE {table} ALTER {column} TYPE bigint")
        for statement in NONE.writes(2000):
            session.execute(statement)
    business.assert_right_tenants()


KEY, COLUMN, PARENT = (f"{n}'; SELECT 1/0 --$function$%1$s@tenantry 1@@tenantry key@" for n in "abc")
HOSTILE = sql.SQL("""
CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
CREATE TABLE {parent} (id int PRIMARY KEY, org int REFERENCES tenants);
CREATE TABLE goods (id int PRIMARY KEY, org int NOT NULL REFERENCES tenants, {column} int CONSTRAINT {key} REFERENCES {parent});
INSERT INTO tenants VALUES (1, 'a'), (2, 'b');
INSERT INTO {parent} VALUES (1, 1), (2, 2), (3, NULL);
""").format(key=sql.Identifier(KEY), column=sql.Identifier(COLUMN), parent=sql.Identifier(PARENT))


def test_hostile_names(database: Database, role: Callable[..., str]) -> None:
    """No name of the user's is SQL in a function of ours, nor taken for what stands in for a number there."""
    database.execute(HOSTILE.as_string())
    dump, target = database.dump(), Target(database.dsn)
    spec = Spec.parse(
        f"[tenant]\ntable = 'tenants'\n[application]\nrole = '{role(create=False)}'\n[[table]]\n"
        f"name = {json.dumps(quoted(PARENT))}\npaths = [['org']]\norphans = 'shared'\n"
        "[[table]]\nname = 'goods'\npaths = [['org']]\n"
    )
    migrate(target, spec, MigrateOptions(until=Phase.ENFORCE, backup=BackupKind.NONE, force=True))
    for number, parent in enumerate((PARENT, "racks")):
        if parent != PARENT:
            database.execute(f"ALTER TABLE {quoted(PARENT)} RENAME TO {parent}")
        database.execute(f"INSERT INTO goods VALUES ({number}, 1, 1)")
        with pytest.raises(psycopg.errors.ForeignKeyViolation, match="another tenant's row"):
            database.execute(f"INSERT INTO goods VALUES ({number + 10}, 1, 2)")
        database.execute(f"UPDATE {quoted(parent)} SET org = org")
    database.execute(f"ALTER TABLE racks RENAME TO {quoted(PARENT)}")
    rollback(target, RollbackOptions(backup=BackupKind.NONE))
    assert database.dump() == dump


def test_another_owner(businesses: Businesses, role: Callable[..., str]) -> None:
    """Tables that the application gives to another role: its own writes go on, and where nobody can be asked whose a row
    is, a tenant's session is refused what needs to be asked."""
    database, one, other = businesses.original(), role(), role()
    for table in ("stores", "lots", "lines", "shelves", "goods", "crates", "items"):
        database.execute(f"ALTER TABLE {table} OWNER TO {one}; GRANT SELECT ON tenants TO {one}, {other}")
    database.execute(f"GRANT USAGE ON SCHEMA shop TO {other}; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO {other}")
    database.execute(f"GRANT SELECT ON notes, logs, logs_1, logs_2 TO {other}")
    business = Business(database=database, folder=businesses.folder)
    business.migrate(Phase.BACKFILL)
    for table in ("lots", "stores", "shelves", "crates"):
        database.execute(f"ALTER TABLE {table} OWNER TO {other}")
    business.write(1000)
    rights = "SELECT, UPDATE ON ALL TABLES IN SCHEMA public"
    database.execute(f"GRANT {rights} TO {one}, {other}")
    assert business.migrate(Phase.ENFORCE).exit_status is ExitStatus.DONE
    database.execute(f"REVOKE SELECT, UPDATE ON shelves FROM {one}")
    business.write(2000)
    with database.connect() as session:
        session.execute("SET app.tenant_id = '1'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="has another owner"):
            session.execute("INSERT INTO goods (id, shelf_id, store_id, tenant_id) VALUES (3000, 1, 2, 1)")
    database.execute(f"GRANT {rights} TO {one}")
    assert business.migrate(Phase.ENFORCE).exit_status is ExitStatus.DONE
    business.write(3000)
    assert business.rollback().exit_status is ExitStatus.DONE
