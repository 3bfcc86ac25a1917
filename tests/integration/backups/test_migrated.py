"""Backups around a migration: made by it, restored across it, and by the tables' owner, who bypasses nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acceptance.round_trip import checksums, columns
from backups.conftest import firing, rows, spec_of, target
from daily import daily
from servers import Database
from tenantry import (
    BackupOptions,
    MigrateOptions,
    RestoreOptions,
    RollbackOptions,
    create_backup,
    list_backups,
    migrate,
    purge,
    restore,
    rollback,
    verify_backups,
)
from tenantry.errors import Failed, Refused
from tenantry.model.backup import Backup, BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.presets import PRESETS

Preset = Callable[[str], tuple[Database, Spec]]
OWNED = """
DO $$
DECLARE found record;
BEGIN
  EXECUTE format('GRANT CREATE ON DATABASE %I TO the_owner', current_database());
  ALTER SCHEMA public OWNER TO the_owner;
  FOR found IN SELECT oid::regclass AS name FROM pg_class
    WHERE relkind IN ('r', 'p', 'v') AND relnamespace = 'public'::regnamespace LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO the_owner', found.name);
  END LOOP;
END $$
"""


def made(database: Database, reason: str) -> list[Backup]:
    return [one.backup for one in list_backups(target(database)) if one.backup.reason == reason]


@pytest.mark.server
@pytest.mark.parametrize("until", daily([Phase.CONTRACT, Phase.EXPAND, Phase.ISOLATE]))
@pytest.mark.parametrize("name", PRESETS)
def test_restored_after_the_migration(name: str, until: Phase, preset: Preset) -> None:
    """A backup that knows no tenants, restored where every row must have one: the rows are those of before, with the
    tenant that they had, or that their paths give them."""
    database, spec = preset(name)
    users, before = columns(database), checksums(database)
    migrate(target(database), spec, MigrateOptions(until=until, force=True))
    (backup,) = made(database, "migration")
    tenants, states = checksums(database), firing(database)
    with database.connect() as connection:
        connection.execute("SET session_replication_role = replica")
        for copy in backup.tables:
            if copy.table.name not in ("tenants", "organizations"):
                name_ = copy.table.identifier.as_string(None)
                connection.execute(f"DELETE FROM {name_} t WHERE hashtext(t::text) % 3 = 0")
    assert checksums(database) != tenants
    done = restore(target(database), backup.id, RestoreOptions())
    assert sum(one.inserted for one in done.tables) > 100
    there = checksums(database, users)
    assert {table: there[table] for table in before if table not in ("tenants", "organizations")} == {
        table: found for table, found in before.items() if table not in ("tenants", "organizations")
    }
    assert firing(database) == states
    if until is not Phase.EXPAND:
        assert checksums(database) == tenants


@pytest.mark.server
@pytest.mark.parametrize("kind", [BackupKind.TABLES, BackupKind.DUMP])
def test_as_the_owner(kind: BackupKind, preset: Preset, role: Callable[..., str], tmp_path: Path) -> None:
    """The tables' owner, no superuser, under forced row security: backs up, verifies and restores every row."""
    database, spec = preset("estoque")
    owner = role("LOGIN CREATEROLE CREATEDB", name="owner")
    database.execute(OWNED.replace("the_owner", owner))
    ours = target(database, owner)
    migrate(ours, spec, MigrateOptions(force=True, backup=BackupKind.NONE))
    assert list_backups(ours) == ()
    before = checksums(database)
    backup = create_backup(ours, spec, BackupOptions(kind=kind, folder=tmp_path))
    assert backup.rows > 2000
    assert [one.problem for one in verify_backups(ours, [backup.id])] == [""]
    database.execute(
        "DELETE FROM estoque_movimentacoes WHERE id % 3 = 0;"
        "ALTER TABLE estoque_lotes DISABLE TRIGGER USER; UPDATE estoque_lotes SET quantidade_atual = 1;"
        "ALTER TABLE estoque_lotes ENABLE TRIGGER USER; ALTER TABLE estoque_lotes ENABLE ALWAYS TRIGGER"
        ' "~tenantry_assign"'
    )
    harmed = database.dump()
    tables = ("estoque_lotes", "estoque_movimentacoes")
    restore(ours, backup.id, RestoreOptions(tables=tables, force=True))
    assert checksums(database) == before
    assert database.dump() == harmed


MOVED = """
CREATE TABLE shops (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
INSERT INTO shops VALUES (1, 'one'), (2, 'two');
CREATE TABLE store (id integer PRIMARY KEY, shop_id integer NOT NULL REFERENCES shops);
INSERT INTO store VALUES (1, 1), (2, 2);
CREATE TABLE parcel (id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES store, code text NOT NULL UNIQUE);
INSERT INTO parcel VALUES (1, 1, 'a'), (2, 1, 'b');
CREATE TABLE item (id integer PRIMARY KEY, parcel_id integer NOT NULL REFERENCES parcel);
INSERT INTO item VALUES (1, 2), (2, 1);
"""


@pytest.mark.server
@pytest.mark.parametrize("code", ["b", "c"])
def test_children_before_their_parents(code: str, database: Database, role: Callable[..., str]) -> None:
    """A row that goes back to its parent, which has moved to another tenant since, and got another unique value, keeps
    the tenant of the backup: the assignment trigger does not take it from the parent as it still is."""
    database.execute(MOVED)
    spec = Spec.parse(
        f"[tenant]\ntable = 'shops'\n[application]\nrole = '{role(create=False, name='app')}'\n"
        "[[table]]\nname = 'store'\npaths = [['shop_id']]\n[[table]]\nname = 'parcel'\npaths = [['store_id']]\n"
        "[[table]]\nname = 'item'\npaths = [['parcel_id']]\n"
    )
    migrate(target(database), spec, MigrateOptions())
    backup, before = create_backup(target(database), spec, BackupOptions()), rows(database)
    database.execute("UPDATE item SET parcel_id = 1 WHERE id = 1")
    database.execute(f"UPDATE parcel SET store_id = 2, code = '{code}' WHERE id = 2")
    assert database.rows("SELECT tenant_id FROM parcel WHERE id = 2") == [(2,)]
    restore(target(database), backup.id, RestoreOptions(force=True))
    assert rows(database) == before


def test_a_run_that_goes_on(preset: Preset) -> None:
    """A run that goes on where one stopped goes on with its backup; the next one, and a rollback, make their own."""
    database, spec = preset("estoque")
    with database.connect() as holder:
        holder.execute("LOCK TABLE usuarios IN ROW EXCLUSIVE MODE")
        for _ in range(2):
            with pytest.raises(Failed):
                migrate(target(database), spec, MigrateOptions(lock_timeout=0.2, lock_budget=0.5))
    assert len(made(database, "migration")) == 1
    migrate(target(database), spec, MigrateOptions(until=Phase.EXPAND))
    assert len(made(database, "migration")) == 1
    migrate(target(database), spec, MigrateOptions(until=Phase.EXPAND))
    assert len(made(database, "migration")) == 1, "there was nothing to do"
    migrate(target(database), spec, MigrateOptions())
    assert len(made(database, "migration")) == 2
    rollback(target(database), RollbackOptions())
    assert len(made(database, "rollback")) == 1


def test_back_to_before_the_rollback(preset: Preset) -> None:
    """A rollback's backup has the tenants; restored where their column is gone, it says that it leaves them out."""
    database, spec = preset("estoque")
    before = checksums(database)
    migrate(target(database), spec, MigrateOptions())
    rollback(target(database), RollbackOptions())
    (backup,) = made(database, "rollback")
    database.execute("DELETE FROM estoque_movimentacoes WHERE id % 3 = 0")
    done = restore(target(database), backup.id, RestoreOptions())
    assert "public.estoque_movimentacoes: its column tenant_id, which no longer exists" in done.left_out
    assert checksums(database) == before


def test_what_is_too_large_is_asked_about(preset: Preset) -> None:
    """Above max_size somebody has to choose: exit 4, and nothing has been changed; none goes on without."""
    database, spec = preset("estoque")
    small = spec.model_copy(update={"backup": spec.backup.model_copy(update={"max_size": 1000})})
    dump = database.dump()
    with pytest.raises(Refused, match="more than the 1000 bytes"):
        migrate(target(database), small, MigrateOptions())
    assert database.dump() == dump
    assert list_backups(target(database)) == ()
    migrate(target(database), small, MigrateOptions(until=Phase.EXPAND, backup=BackupKind.NONE))
    migrate(target(database), small, MigrateOptions(backup=BackupKind.TABLES))
    assert len(made(database, "migration")) == 1
    with pytest.raises(Refused, match="more than the 1000 bytes"):
        rollback(target(database), RollbackOptions(max_size=1000))


def test_the_journal_takes_them_along(preset: Preset) -> None:
    """housekeeping --purge leaves no copy, even where it leaves the migration; it names the dumps that stay."""
    database, spec = preset("estoque")
    migrate(target(database), spec, MigrateOptions(until=Phase.EXPAND))
    held, statements = purge(target(database), force=True)
    assert held.backups == 1
    assert any("DROP TABLE IF EXISTS" in statement and "backup_migration_" in statement for statement in statements)
    assert database.rows("SELECT relname FROM pg_class WHERE relname LIKE 'backup%' AND relkind = 'r'") == []


def test_an_emergency_makes_none(preset: Preset) -> None:
    """rollback --preserve-data --force changes no value and waits for no backup."""
    database, spec = preset("estoque")
    migrate(target(database), spec, MigrateOptions(backup=BackupKind.NONE))
    rollback(target(database), RollbackOptions(preserve_data=True, force=True))
    assert list_backups(target(database)) == ()


@pytest.mark.server
def test_partitions_as_the_owner(odd: Database, role: Callable[..., str]) -> None:
    """The owner restores a partitioned table whose row trigger its partitions have copies of."""
    owner = role("LOGIN", name="owner")
    database, there = odd, target(odd, owner)
    database.execute(
        f"GRANT CREATE ON DATABASE {database.name} TO {owner}; ALTER TABLE shops OWNER TO {owner};"
        "DO $$ DECLARE found regclass; BEGIN FOR found IN SELECT relid FROM pg_partition_tree('parted') LOOP"
        f" EXECUTE format('ALTER TABLE %s OWNER TO {owner}', found); END LOOP; END $$"
    )
    made = create_backup(there, spec_of("parted"), BackupOptions())
    before, states = rows(database), firing(database)
    database.execute("SET session_replication_role = replica; DELETE FROM parted WHERE id % 2 = 0")
    restore(there, made.id, RestoreOptions())
    assert (rows(database), firing(database)) == (before, states)
