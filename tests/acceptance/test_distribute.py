"""Distribute, on plain PostgreSQL: what a distributed engine asks for, while writers go on, and exactly back."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from acceptance.distributed import (
    DISTRIBUTE,
    NORTH,
    SOUTH,
    Depot,
    assert_back,
    assert_sound,
    business,
    refused_by_citus,
)
from acceptance.round_trip import checksums
from servers import Database
from tenantry import (
    BackupOptions,
    MigrateOptions,
    RemovalBackup,
    RemoveOptions,
    RestoreOptions,
    RollbackOptions,
    create_backup,
    discover,
    export_tenant,
    import_tenant,
    migrate,
    plan,
    remove_tenant,
    restore,
    rollback,
    status,
    validate,
    verify,
)
from tenantry.discovery.proposal import Undecided
from tenantry.errors import ExitStatus, Refused
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.run import MigrationState
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import PRESETS

pytestmark = pytest.mark.server


def there_and_back(database: Database, spec: Spec) -> None:
    target = Target(database.dsn)
    dump, rows = database.dump(), checksums(database)
    migrate(target, spec, DISTRIBUTE)
    assert migrate(target, spec, DISTRIBUTE).applied == 0, "a second run finds everything in force"
    assert refused_by_citus(target, spec) == set()
    for look in (validate, verify):
        verdict = look(target, spec)
        assert verdict.exit_status is ExitStatus.DONE, [one for one in verdict.findings if one.severity.serious]
    back = rollback(target, RollbackOptions())
    assert (back.exit_status, [one for one in back.findings if one.severity.serious]) == (ExitStatus.DONE, [])
    assert database.dump() == dump
    assert checksums(database) == rows


def test_keys_that_are_not_valid(there: Depot) -> None:
    """Rows that violate them are left as they are, in the phase and on the way back."""
    there.database.execute("""
      ALTER TABLE items DROP CONSTRAINT items_unit_fkey, DROP CONSTRAINT items_entered_by;
      ALTER TABLE moves DROP CONSTRAINT moves_before_fkey;
      UPDATE items SET unit = 'ton' WHERE id = 1; UPDATE items SET entered_by = 99 WHERE id = 2;
      ALTER TABLE items
        ADD CONSTRAINT items_unit_fkey FOREIGN KEY (unit) REFERENCES units ON DELETE SET NULL DEFERRABLE NOT VALID,
        ADD CONSTRAINT items_entered_by FOREIGN KEY (entered_by) REFERENCES people NOT VALID;
      COMMENT ON CONSTRAINT items_unit_fkey ON items IS 'not yet';
      ALTER TABLE moves ADD CONSTRAINT moves_before_fkey FOREIGN KEY (before) REFERENCES moves DEFERRABLE NOT VALID;
    """)
    dump, rows = there.database.dump(), checksums(there.database)
    there.distribute()
    assert there.database.rows(
        "SELECT conname, convalidated, condeferrable FROM pg_constraint WHERE conname IN ('items_unit_fkey', 'tenantry_moves_before_fkey') ORDER BY 1"
    ) == [("items_unit_fkey", False, False), ("tenantry_moves_before_fkey", True, False)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        there.database.execute("UPDATE items SET unit = 'ton' WHERE id = 3")
    assert migrate(there.target, there.spec, DISTRIBUTE).applied == 0
    assert_back(there, dump)
    assert checksums(there.database) == rows


@pytest.mark.differs
def test_keys_of_all_sorts(there: Depot) -> None:
    """Constraints, indexes, comments, marks and triggers come back as they were."""
    there_and_back(there.database, there.spec)


@pytest.mark.nightly
@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: str, template: Callable[..., Database], role: Callable[..., str]) -> None:
    there_and_back(*business(preset, template, role))


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["northwind", "chinook", "adventureworks"])
def test_real_databases(name: str, realdb: Callable[[str], Database], role: Callable[..., str]) -> None:
    """As discover proposes them."""
    database = realdb(name)
    found = discover(Target(database.dsn), undecided=Undecided.DEFAULT)
    spec = Spec.parse(found.text)
    application = spec.application.model_copy(update={"role": role(create=False, name="app")})
    there_and_back(database, spec.model_copy(update={"application": application}))


# --- what Citus refuses is not there any more


def test_nothing_is_left_that_citus_refuses(there: Depot) -> None:
    """Each rule finds something before the phase, but for what is refused, and nothing after it."""
    migrate(there.target, there.spec, MigrateOptions(until=Phase.CONTRACT, force=True, backup=BackupKind.NONE))
    assert refused_by_citus(there.target, there.spec) == {
        "UNIQUE, PRIMARY KEY or EXCLUDE without the tenant", "a foreign key without the tenant, or that sets it",
        "a trigger, enabled or not", "a policy with a subquery, or RESTRICTIVE", "a row without a tenant",
    }  # fmt: skip
    there.distribute()
    assert refused_by_citus(there.target, there.spec) == set()


def test_tenants_are_apart_and_see_their_own(there: Depot) -> None:
    """By the direct policies, without the floor; the quarantine is nobody's, and a tenant finds its own rows."""
    there.distribute()
    whole = dict(there.database.rows("SELECT firm_id, count(*) FROM notes GROUP BY 1"))
    assert whole.keys() == {NORTH, SOUTH, "nobody's"}
    for tenant in (NORTH, SOUTH):
        assert there.as_tenant(tenant, "SELECT firm_id, count(*) FROM notes GROUP BY 1") == [(tenant, whole[tenant])]
        assert there.as_tenant(tenant, "SELECT id FROM firms") == [(tenant,)]
    for nobody in ("", "nobody's", "the east"):
        assert there.as_tenant(nobody, "SELECT FROM notes UNION ALL SELECT FROM firms") == []
    assert {one.name for one in validate(there.target, there.spec).findings if one.severity.serious} == set()
    there.database.execute("CREATE POLICY open ON notes USING (true)")
    assert {"policy-added", "tenants-not-apart"} <= {one.name for one in validate(there.target, there.spec).findings}
    there.database.execute("DROP POLICY open ON notes; ALTER TABLE notes DISABLE ROW LEVEL SECURITY")
    found = {one.name: one.remedy for one in validate(there.target, there.spec).findings if one.severity.serious}
    assert found.keys() == {"not-in-force", "table-open", "tenants-not-apart"}
    assert all("`tenantry migrate --until distribute --prepare`" in remedy for remedy in found.values())
    last = migrate(there.target, there.spec, MigrateOptions(backup=BackupKind.NONE)).next_step
    assert last.startswith("Run `tenantry migrate --until distribute --prepare`")
    there.distribute()
    assert_sound(there, there.spec)


def test_rows_keep_to_their_tenant_all_the_way(there: Depot) -> None:
    """The composite keys hold in the phase, and half-way back: nothing refers to another tenant's row, or to none."""
    there.distribute()
    foreign = "INSERT INTO items (firm_id, place_id, unit, sku) VALUES ('the north', (SELECT id FROM places WHERE firm_id = 'the south' LIMIT 1), 'kg', 'x')"
    for statement in (
        foreign,
        "INSERT INTO moves (firm_id, id, item_id) VALUES ('the north', 9999, 123456)",
        "INSERT INTO items (firm_id, place_id, unit, sku) VALUES ('the north', (SELECT id FROM places WHERE firm_id = 'the north' LIMIT 1), 'none', 'x')",
    ):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            there.database.execute(statement)


def test_two_tenants_may_use_one_id_and_then_there_is_no_way_back(there: Depot) -> None:
    there.distribute()
    there.database.execute("INSERT INTO people (id, firm_id, name) VALUES (2, 'the south', 'a'), (1, 'the north', 'b')")
    shared = there.database.rows("SELECT count(*) FROM (SELECT FROM people GROUP BY id HAVING count(*) > 1) AS x")
    assert shared == [(2,)]
    with pytest.raises(Refused) as refusal:
        rollback(there.target, RollbackOptions())
    assert "people_pkey" in str(refusal.value)
    assert "(1)" in str(refusal.value)


def test_what_is_refused_changes_nothing(there: Depot) -> None:
    """Without --prepare on a server that has no engine; and without --force what would be lost."""
    dump = there.database.dump()
    with pytest.raises(Refused, match="The extension citus, which distributes tables, is missing") as refusal:
        migrate(there.target, there.spec, MigrateOptions(until=Phase.DISTRIBUTE, force=True))
    assert "--prepare" in (refusal.value.remedy or "")
    with pytest.raises(Refused) as losing:
        migrate(there.target, there.spec, MigrateOptions(until=Phase.DISTRIBUTE, prepare=True))
    lost = " ".join([str(losing.value), *losing.value.details])
    assert all(name in lost for name in ("items_touch", "An old one", "items_entered_by"))
    assert there.database.dump() == dump


def test_plan_says_it_at_any_time(there: Depot) -> None:
    names = {one.name for one in plan(there.target, there.spec, until=Phase.DISTRIBUTE).findings}
    assert {"distribute-loses", "distribute-changes", "distribute-changes-floor", "distribute-changes-join"} <= names
    assert not {name for name in names if "without-engine" in name}


# --- statements

GOLDEN = Path(__file__).with_name("golden")
OURS = re.compile(r'"(tenantry_[^"]*)"')


@pytest.mark.parametrize("preset", PRESETS)
def test_statements(preset: str, template: Callable[..., Database], role: Callable[..., str]) -> None:
    """All that the phase does to each preset, word for word; and names of ours that it makes or keeps need no quotes,
    which Citus forgets."""
    database, spec = business(preset, template, role)
    found = "".join(
        f"-- {planned.step.table}\n" + "".join(f"{one.text};\n" for one in planned.statements)
        for planned in plan(Target(database.dsn), spec, until=Phase.DISTRIBUTE).steps
        if planned.step.phase is Phase.DISTRIBUTE
    ).replace(spec.application.role, "tenantry_app")  # fmt: skip
    path = GOLDEN / f"distribute-{preset}.sql"
    if os.environ.get("TENANTRY_WRITE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()
    assert [name for name in OURS.findall(found) if not re.fullmatch("[a-z0-9_]+", name)] == []


# --- while writers go on

ENDED = (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable)
"""What a writer that names the tenant column is told once a rollback has taken it away."""


@dataclass(slots=True)
class Writing:
    """Writers that name each row's tenant, and one that tries to refer to another tenant's place all the time."""

    database: Database
    stop: threading.Event = field(default_factory=threading.Event)
    written: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    longest: float = 0.0
    pause: float = 0.02
    """Seconds between two transactions of a writer, so that nine of them leave the phase a processor."""

    def write(self, number: int) -> None:
        with self.database.connect() as connection:
            for at in count(number * 1_000_000):
                if self.stop.wait(self.pause):
                    return
                firm, began = (NORTH, SOUTH)[at % 2], time.monotonic()
                try:
                    with connection.transaction():
                        connection.execute(
                            "WITH place AS (SELECT id FROM places WHERE firm_id = %(firm)s ORDER BY id LIMIT 1),"
                            " item AS (INSERT INTO items (firm_id, place_id, unit, sku)"
                            " SELECT %(firm)s, id, 'm', %(sku)s FROM place RETURNING id)"
                            " INSERT INTO moves (firm_id, id, item_id) SELECT %(firm)s, %(at)s, id FROM item",
                            {"firm": firm, "sku": f"new {at}", "at": at},
                        )  # fmt: skip
                        connection.execute("UPDATE moves SET quantity = quantity + 1 WHERE id = %s", [at])
                except ENDED:
                    return
                except psycopg.Error as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                self.longest = max(self.longest, time.monotonic() - began)
                self.written["moves"] += 1

    def cross(self) -> None:
        """Let through only once nothing of the phase is in force any more."""
        insert = "INSERT INTO items (firm_id, place_id, unit, sku) SELECT 'the north', id, 'm', 'x' FROM places WHERE firm_id = 'the south' LIMIT 1"
        with self.database.connect() as connection:
            while not self.stop.wait(self.pause):
                try:
                    with connection.transaction(force_rollback=True):
                        connection.execute(insert)
                        left = connection.execute("SELECT count(*) FROM tenantry.steps WHERE phase = 'distribute'")
                        if left.fetchone() != (0,):
                            self.failures.append("a row refers to another tenant's")
                        self.written["back"] += 1
                except psycopg.errors.ForeignKeyViolation:
                    self.written["refused"] += 1
                except ENDED:
                    return


def test_writers_go_on_and_no_row_refers_to_another_tenants(there: Depot) -> None:
    """Through the phase and back: no statement fails, none waits longer than locks are waited for, and the composite keys
    hold at every moment, until the user's own are back."""
    there.database.execute("UPDATE places SET label = 'a ' || id")
    dump = there.database.dump()
    migrate(there.target, there.spec, MigrateOptions(until=Phase.CONTRACT, force=True, backup=BackupKind.NONE))
    writing = Writing(there.database)
    with ThreadPoolExecutor(9) as threads:
        running = [threads.submit(writing.write, number) for number in range(1, 9)] + [threads.submit(writing.cross)]
        try:
            there.distribute()
            refused, written = writing.written["refused"], writing.written["moves"]
            rollback(there.target, RollbackOptions())
        finally:
            writing.stop.set()
        for one in running:
            one.result()
    print(f"{writing.written}, the longest took {writing.longest:.3f} s")
    assert writing.failures == []
    assert min(refused, written, writing.written["moves"] - written) > 0
    assert writing.longest < 2.0 + 1.0
    assert there.database.dump() == dump


# --- what other commands make of it


def test_a_tenant_leaves_and_comes_back(there: Depot, tmp_path: Path) -> None:
    """Its rows alone, along keys that the user's foreign keys hold no more."""
    there.distribute()
    rows = checksums(there.database)
    export_tenant(there.target, there.spec, "south", tmp_path / "south")
    gone = remove_tenant(there.target, there.spec, "south", RemoveOptions(backup=RemovalBackup.NONE, force=True))
    assert gone.rows > 0
    assert there.database.rows("SELECT count(*) FROM moves WHERE firm_id = 'the south'") == [(0,)]
    import_tenant(there.target, there.spec, tmp_path / "south")
    assert checksums(there.database) == rows
    assert_sound(there, there.spec)


@pytest.mark.nightly
@pytest.mark.parametrize("options", [{"preserve_data": True}, {"tables": ("items",)}, {"tables": ("notes",)}], ids=str)
def test_a_part_goes_back_and_comes_again(there: Depot, options: dict[str, Any]) -> None:
    """With a table whose foreign key leads to another one goes what the other has in its way."""
    dump = there.database.dump()
    there.distribute()
    assert rollback(there.target, RollbackOptions(**options)).exit_status is ExitStatus.DONE
    there.distribute()
    assert_sound(there, there.spec)
    assert_back(there, dump)


def test_tables_and_columns_are_renamed_meanwhile(there: Depot) -> None:
    """And back under the names of now; what only looks like a table's name stays."""
    there.database.execute(
        'CREATE TRIGGER " ON public.items " BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION touch();'
        "COMMENT ON CONSTRAINT items_pkey ON items IS 'the key of public.items'"
    )
    dump = there.database.dump()
    there.distribute()
    there.database.execute(
        "ALTER TABLE items RENAME TO things; ALTER TABLE moves RENAME COLUMN item_id TO thing_id;"
        "ALTER TABLE people RENAME COLUMN id TO number"
    )
    assert rollback(there.target, RollbackOptions()).exit_status is ExitStatus.DONE
    there.database.execute(
        "ALTER TABLE things RENAME TO items; ALTER TABLE moves RENAME COLUMN thing_id TO item_id;"
        "ALTER TABLE people RENAME COLUMN number TO id"
    )
    assert there.database.dump() == dump


@pytest.mark.nightly
def test_the_spec_changes_meanwhile(there: Depot) -> None:
    """A table of tenants' rows becomes shared: what the phase has made of it goes with the rest."""
    dump = there.database.dump()
    there.distribute()
    people, crossing = (
        'name = "people"\npaths = [["firm_id"]]',
        '[[reference]]\nfrom = "items.entered_by"\ncrosses = true',
    )
    text = there.text.replace(people, 'name = "people"\nshared = true').replace(crossing, "")
    spec = Spec.parse(text)
    migrate(there.target, spec, DISTRIBUTE)
    assert_sound(there, spec)
    assert_back(there, dump)


def test_status_and_backups_know_it(there: Depot) -> None:
    there.distribute()
    found = status(there.target, there.spec)
    assert (found.word, found.orphaned, found.altered, found.misfits) == (MigrationState.COMPLETED, (), (), ())
    assert found.steps[0] == found.steps[1]
    kept = there.database.rows("SELECT count(*), sum(quantity) FROM moves")
    made = create_backup(there.target, there.spec, BackupOptions())
    there.database.execute("DELETE FROM moves WHERE id % 2 = 0; UPDATE moves SET quantity = 7 WHERE before IS NULL")
    restore(there.target, made.id, RestoreOptions(force=True))
    assert there.database.rows("SELECT count(*), sum(quantity) FROM moves") == kept
