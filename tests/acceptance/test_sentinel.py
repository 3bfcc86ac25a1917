"""The sentinel tenant: the rows of mixed tables that belong to all tenants, from the phase distribute on, and back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from acceptance.distributed import DISTRIBUTE, NORTH, SOUTH, Depot, assert_back, assert_sound
from acceptance.round_trip import checksums
from daily import daily
from servers import Database
from tenantry import (
    BackupOptions,
    MigrateOptions,
    RemovalBackup,
    RemoveOptions,
    RestoreOptions,
    RollbackOptions,
    create_backup,
    export_tenant,
    list_tenants,
    migrate,
    plan,
    remove_tenant,
    rename_tenant,
    restore,
    rollback,
    status,
    validate,
)
from tenantry.errors import ExitStatus, Refused
from tenantry.execution.events import Event, StepEvent
from tenantry.model.backup import BackupKind
from tenantry.model.finding import Severity
from tenantry.model.plan import Phase
from tenantry.model.run import StepAction
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server
SENTINEL = "0"
"""The key of the sentinel tenant where keys are texts."""
CONTRACT = MigrateOptions(until=Phase.CONTRACT, force=True, backup=BackupKind.NONE)


@pytest.mark.differs
def test_tenants_see_what_they_saw(there: Depot) -> None:
    """Each tenant its own rows and those of all tenants, in every state; nobody changes those of all tenants."""
    query = "SELECT id FROM papers UNION ALL SELECT id + 1000 FROM tags ORDER BY 1"
    migrate(there.target, there.spec, CONTRACT)
    before = {tenant: there.as_tenant(tenant, query) for tenant in ("", NORTH, SOUTH)}
    assert 0 < len(before[""]) < len(before[NORTH]) < 150
    there.distribute()
    assert {tenant: there.as_tenant(tenant, query) for tenant in before} == before
    assert there.database.rows("SELECT count(*) FROM tags WHERE firm_id IS NULL") == [(0,)]
    shown = "SELECT count(*) FROM pg_policies WHERE qual LIKE '%firm_id IS NULL%'"
    assert there.database.rows(shown) == [(0,)]
    assert there.as_tenant(SENTINEL, query) == before[""], "a session that names the sentinel has no rows of its own"
    for tenant in ("", NORTH, SENTINEL):
        for statement in (
            "UPDATE tags SET name = 'x' WHERE firm_id = '0' RETURNING id",
            "DELETE FROM papers WHERE firm_id = '0' RETURNING id",
        ):
            assert there.as_tenant(tenant, statement) == []
        for table, values in (("tags (firm_id, name)", "('0', 'x')"), ("notes (firm_id, id)", "('0', 777)")):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                there.as_tenant(tenant, f"INSERT INTO {table} VALUES {values} RETURNING 1")
    assert there.as_tenant(SENTINEL, "SELECT id FROM firms UNION ALL SELECT 'x' FROM notes") == []
    assert_sound(there, there.spec)


def test_what_is_written_meanwhile_goes_back_too(there: Depot) -> None:
    """A row without a tenant's name is one of all tenants, as before; unique keys hold among these; NULL is refused. A
    rollback gives all of them NULL again, and no other row."""
    dump = there.database.dump()
    there.distribute()
    there.database.execute("INSERT INTO tags (name) VALUES ('written meanwhile')")
    there.database.execute("INSERT INTO tags (firm_id, name) VALUES ('0', 'by its key'), ('the north', 'by a tenant')")
    for statement, error in (
        ("INSERT INTO tags (name) VALUES ('written meanwhile')", psycopg.errors.UniqueViolation),
        ("INSERT INTO papers (id, code, title) VALUES (777, 'code', 'title 3')", psycopg.errors.UniqueViolation),
        ("INSERT INTO tags (firm_id, name) VALUES (NULL, 'nothing')", psycopg.errors.NotNullViolation),
        ("UPDATE tags SET firm_id = NULL WHERE firm_id = 'the north'", psycopg.errors.NotNullViolation),
        ("UPDATE pages SET paper_id = 3 WHERE id = 101", psycopg.errors.ForeignKeyViolation),
    ):
        with pytest.raises(error):
            there.database.execute(statement)
    rows = there.database.rows("SELECT id, nullif(firm_id, '0'), name FROM tags ORDER BY 1")
    assert_back(there, dump)
    assert there.database.rows("SELECT id, firm_id, name FROM tags ORDER BY 1") == rows
    assert len([row for row in rows if row[1] is None]) == 32


def test_references_keep_to_their_tenant_all_the_way_back(there: Depot) -> None:
    """At no step of a rollback can a row refer to another tenant's row of a mixed table, or from a mixed table to one,
    until nothing of the phase is left; and rows of all tenants can refer to each other at each."""
    dump = there.database.dump()
    there.distribute()
    crossing = (
        "INSERT INTO pages (firm_id, id, paper_id, place_id) SELECT 'the south', 9999, p.id, s.id FROM papers p, places s"
        " WHERE p.firm_id = 'the north' AND s.firm_id = 'the south' LIMIT 1",
        "UPDATE papers SET next = 1 WHERE id = 2",
        "UPDATE papers SET next = 1 WHERE id = 3",
    )
    tried: Counter[str] = Counter()
    wrong: list[str] = []

    def attempt(event: Event) -> None:
        if not isinstance(event, StepEvent) or event.action is not StepAction.REVERTED:
            return
        with there.database.connect() as connection:
            for statement in (*crossing, "UPDATE papers SET next = 6 WHERE id = 3"):
                try:
                    with connection.transaction(force_rollback=True):
                        connection.execute("SET LOCAL lock_timeout = '2s'")
                        if not connection.execute("SELECT 1 FROM tenantry.steps WHERE phase = 'distribute'").fetchone():
                            return
                        connection.execute(statement)
                        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    if statement in crossing:
                        wrong.append(f"{statement}, after {event.step.key}")
                    else:
                        tried["among rows of all tenants"] += 1
                except psycopg.errors.ForeignKeyViolation:
                    tried["refused"] += 1
                    if statement not in crossing:
                        wrong.append(f"refused: {statement}, after {event.step.key}")

    assert rollback(there.target, RollbackOptions(), observer=attempt).exit_status is ExitStatus.DONE
    assert wrong == []
    assert tried["refused"] == 3 * tried["among rows of all tenants"] > 0
    assert there.database.dump() == dump


def test_values_stay_with_preserve_data(there: Depot) -> None:
    """The column that tenantry added keeps its tenants, and NULL for rows of all tenants, so that a later migrate finds
    what it left."""
    there.distribute()
    kept = there.database.rows("SELECT id, nullif(firm_id, '0') FROM papers ORDER BY 1")
    assert rollback(there.target, RollbackOptions(preserve_data=True)).exit_status is ExitStatus.DONE
    assert there.database.rows("SELECT id, firm_id FROM papers ORDER BY 1") == kept
    assert there.database.rows("SELECT count(*) FROM firms WHERE id = '0'") == [(0,)]
    there.distribute()
    assert_sound(there, there.spec)


def test_writers_of_rows_of_all_tenants_go_on(there: Depot) -> None:
    """Through the phase and back, operators insert and change such rows, and a tenant sees all of them at every
    moment."""
    there.database.execute("INSERT INTO tags (name) SELECT 'more ' || n FROM generate_series(1, 20000) n")
    dump, wanted = there.database.dump(), there.database.rows("SELECT count(*) FROM tags WHERE firm_id IS NULL")[0][0]
    migrate(there.target, there.spec, CONTRACT)
    stop, failures, written, seen, keyed = threading.Event(), list[str](), list[float](), list[int](), list[int]()

    # Each session pauses between two transactions, so that together they leave the phase a processor.
    def write(number: int) -> None:
        with there.database.connect() as connection:
            at = 0
            while not stop.wait(0.01):
                at, began = at + 1, time.monotonic()
                try:
                    with connection.transaction():
                        connection.execute("INSERT INTO tags (name) VALUES (%s)", [f"by {number}: {at}"])
                        connection.execute(
                            "UPDATE tags SET name = name || '.' WHERE id = %s", [300 + (at * 7919 + number) % 19000]
                        )
                except psycopg.Error as error:
                    failures.append(f"{type(error).__name__}: {error}")
                written.append(time.monotonic() - began)

    def write_by_key() -> None:
        """Until there is no such tenant any more."""
        with there.database.connect() as connection:
            while not stop.wait(0.01):
                try:
                    with connection.transaction():
                        connection.execute("INSERT INTO tags (firm_id, name) VALUES ('0', %s)", [f"key {len(keyed)}"])
                    keyed.append(1)
                except psycopg.errors.ForeignKeyViolation:
                    if keyed:
                        return

    def read() -> None:
        with there.database.connect() as connection:
            while not stop.wait(0.01):
                try:
                    with connection.transaction():
                        connection.execute(f"SET LOCAL ROLE {there.role}")
                        connection.execute("SELECT set_config('app.tenant_id', 'the north', true)")
                        (count,) = connection.execute("SELECT count(*) FROM tags").fetchone() or (0,)
                except psycopg.Error:
                    return  # Its privileges are gone: a rollback.
                seen.append(count)

    with ThreadPoolExecutor(5) as threads:
        running = [threads.submit(write, number) for number in range(3)]
        running += [threads.submit(read), threads.submit(write_by_key)]
        try:
            there.distribute()
            assert there.database.rows("SELECT count(*) FROM tags WHERE firm_id IS NULL") == [(0,)]
            half = len(written)
            assert rollback(there.target, RollbackOptions()).exit_status is ExitStatus.DONE
        finally:
            stop.set()
        for one in running:
            one.result()
    print(f"{len(written)} transactions, the longest took {max(written):.3f} s; {len(seen)} reads")
    assert failures == []
    assert 0 < half < len(written)
    assert min(seen) >= wanted + 30
    assert max(written) < 2.0 + 1.0
    assert there.database.dump() == dump
    assert there.database.rows("SELECT count(*) FROM tags WHERE firm_id = '0'") == [(0,)]
    whole = wanted + len(written) + len(keyed)
    assert there.database.rows("SELECT count(*) FROM tags WHERE firm_id IS NULL") == [(whole,)]
    batches = there.database.rows(
        "SELECT sum(rows) FROM tenantry.events WHERE key = 'distribute_everybody:public.tags' AND action = 'reverted'"
    )
    assert wanted < int(batches[0][0]) <= whole, "given back in batches, not by one statement at the end"


# --- refused


@pytest.mark.parametrize(
    ("statement", "name", "words"),
    [
        ("INSERT INTO firms VALUES ('0', 'zero')", "distribute-refuses-sentinel", "has a tenant with this key, 'zero'"),
        ("INSERT INTO firms VALUES ('x', 'tenantry-everybody')", "distribute-refuses-sentinel", "with this slug"),
        ("ALTER TABLE firms ADD born date NOT NULL DEFAULT now(); ALTER TABLE firms ALTER born DROP DEFAULT",
         "distribute-refuses-sentinel", "firms.born (date) needs a value"),
        ("UPDATE pages SET paper_id = 3 WHERE id IN (101, 102)", "distribute-refuses-mixed-reference",
         "2 rows of public.pages refer to a row of public.papers (paper_id)"),
        ("UPDATE papers SET next = 3 WHERE id IN (1, 2)", "distribute-refuses-mixed-reference",
         "2 rows of public.papers refer to a row of public.papers (next)"),
    ],
)  # fmt: skip
def test_what_cannot_have_a_sentinel(statement: str, name: str, words: str, there: Depot) -> None:
    there.database.execute(statement)
    migrate(there.target, there.spec, CONTRACT)
    dump = there.database.dump()
    with pytest.raises(Refused) as refusal:
        there.distribute()
    found = [one for one in plan(there.target, there.spec, until=Phase.DISTRIBUTE).findings if one.name == name]
    assert len(found) == 1
    assert words in found[0].message
    assert not found[0].forcible
    assert found[0].message.split(":")[0] in " ".join([str(refusal.value), *refusal.value.details])
    assert there.database.dump() == dump


def test_a_reference_that_crosses_is_given_up(there: Depot) -> None:
    """The remedy of `distribute-refuses-mixed-reference`: rows may refer to those of all tenants, without a key."""
    there.database.execute("UPDATE pages SET paper_id = 3 WHERE id = 101")
    spec = Spec.parse(there.text + '[[reference]]\nfrom = "pages.paper_id"\ncrosses = true\n')
    dump, rows = there.database.dump(), checksums(there.database)
    migrate(there.target, spec, DISTRIBUTE)
    assert_sound(there, spec)
    assert_back(there, dump)
    assert checksums(there.database) == rows


# --- other commands


def test_it_is_no_customer(there: Depot, tmp_path: Path) -> None:
    there.distribute()
    marked = {one.slug: one.sentinel for one in list_tenants(there.target, there.spec)}
    assert marked == {"north": False, "south": False, "unknown": False, "tenantry-everybody": True}
    for refused in (
        lambda: export_tenant(there.target, there.spec, "tenantry-everybody", tmp_path / "all"),
        lambda: rename_tenant(there.target, there.spec, "tenantry-everybody", "acme"),
        lambda: remove_tenant(
            there.target, there.spec, "tenantry-everybody", RemoveOptions(backup=RemovalBackup.NONE, force=True)
        ),
    ):
        with pytest.raises(Refused, match="is not a customer"):
            refused()
    found = {str(one.table): one.without_tenant for one in status(there.target, there.spec).tables}
    assert (found["public.tags"], found["public.papers"], found["public.items"]) == (30, 20, 0)
    spread = {str(one.table): one for one in validate(there.target, there.spec).distributions}
    assert (spread["public.tags"].without_tenant, spread["public.tags"].tenants) == (30, 2)


def test_a_backup_from_before_is_restored(there: Depot) -> None:
    """Its rows without a tenant get the sentinel tenant, which did not exist then."""
    migrate(there.target, there.spec, CONTRACT)
    made = create_backup(there.target, there.spec, BackupOptions())
    there.distribute()
    kept = there.database.rows("SELECT * FROM tags ORDER BY 1"), there.database.rows("SELECT * FROM firms ORDER BY 1")
    there.database.execute("UPDATE tags SET name = 'lost ' || id; DELETE FROM tags WHERE id = 2")
    restore(there.target, made.id, RestoreOptions(force=True))
    assert (
        there.database.rows("SELECT * FROM tags ORDER BY 1"),
        there.database.rows("SELECT * FROM firms ORDER BY 1"),
    ) == kept
    assert_sound(there, there.spec)


def test_a_policy_that_shows_less_is_found(there: Depot) -> None:
    """The attempts demand that each tenant sees the rows of all tenants, and can change none."""
    there.distribute()
    there.database.execute(
        "ALTER POLICY tenantry_application_select ON tags USING (firm_id = current_setting('app.tenant_id', true))"
    )
    found = {one.name for one in validate(there.target, there.spec).findings if one.severity is Severity.ERROR}
    assert "own-rows-hidden" in found
    there.database.execute(
        "ALTER POLICY tenantry_application_select ON tags USING (true); ALTER POLICY tenantry_application_delete ON tags USING (true)"
    )
    found = {one.name for one in validate(there.target, there.spec).findings if one.severity is Severity.ERROR}
    assert "tenants-not-apart" in found


def test_tables_of_another_owner(there: Depot, role: Callable[..., str]) -> None:
    """A superuser migrates them: what reads and writes their rows runs as their owner."""
    owner = role(name="owner")
    tables = there.database.rows(
        "SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    there.database.execute(f"GRANT CREATE ON SCHEMA public TO {owner}; ALTER VIEW stock OWNER TO {owner}")
    for (name,) in tables:
        there.database.execute(f"ALTER TABLE {name} OWNER TO {owner}")
    dump, rows = there.database.dump(), checksums(there.database)
    there.distribute()
    assert_sound(there, there.spec)
    assert_back(there, dump)
    assert checksums(there.database) == rows


def test_tables_and_columns_that_are_renamed_meanwhile(there: Depot) -> None:
    """The rows get NULL under the names that their table and column have by then."""
    rows = there.database.rows("SELECT id, firm_id, name FROM tags ORDER BY 1")
    dump = there.database.dump()
    there.distribute()
    there.database.execute(
        "ALTER TABLE tags RENAME TO labels; ALTER TABLE labels RENAME COLUMN firm_id TO firm;"
        "ALTER TABLE papers RENAME TO documents; ALTER TABLE documents RENAME COLUMN next TO following"
    )
    rollback(there.target, RollbackOptions())
    assert there.database.rows("SELECT id, firm, name FROM labels ORDER BY 1") == rows
    there.database.execute(
        "ALTER TABLE labels RENAME COLUMN firm TO firm_id; ALTER TABLE labels RENAME TO tags;"
        "ALTER TABLE documents RENAME COLUMN following TO next; ALTER TABLE documents RENAME TO papers"
    )
    assert there.database.dump() == dump


MIXED = 'name = "tags"\npaths = [["firm_id"]]\norphans = "shared"'


def test_the_spec_changes_meanwhile(there: Depot) -> None:
    """A mixed table that becomes a shared one gets its NULLs back, and the others stay; one that is to be owned is first
    rolled back by itself, as its rows of all tenants have a key that the spec does not know."""
    dump = there.database.dump()
    there.distribute()
    owned = Spec.parse(there.text.replace(MIXED, MIXED.replace("shared", "quarantine")))
    with pytest.raises(Refused, match=r"no longer makes public\.tags a mixed table") as refusal:
        migrate(there.target, owned, DISTRIBUTE)
    assert "tenantry rollback --confirm --table public.tags" in (refusal.value.remedy or "")
    shared = Spec.parse(there.text.replace(MIXED, 'name = "tags"\nshared = true'))
    migrate(there.target, shared, DISTRIBUTE)
    assert there.database.rows("SELECT count(*) FROM tags WHERE firm_id IS NULL") == [(30,)]
    assert there.database.rows("SELECT count(*) FROM papers WHERE firm_id = '0'") == [(20,)]
    assert_sound(there, shared)
    assert_back(there, dump)


def test_a_mixed_table_is_rolled_back_by_itself(there: Depot) -> None:
    """And may then be owned: the sentinel stays for the others."""
    dump = there.database.dump()
    there.distribute()
    assert rollback(there.target, RollbackOptions(tables=("tags",))).exit_status is ExitStatus.DONE
    assert there.database.rows("SELECT count(*) FROM tags WHERE firm_id IS NULL") == [(30,)]
    owned = Spec.parse(there.text.replace(MIXED, MIXED.replace("shared", "quarantine")))
    migrate(there.target, owned, DISTRIBUTE)
    assert there.database.rows("SELECT count(*) FROM tags WHERE firm_id = 'nobody''s'") == [(30,)]
    assert_sound(there, owned)
    assert_back(there, dump)


# --- types of keys

SHOP = """
CREATE TABLE shops (id {key} PRIMARY KEY, slug text NOT NULL UNIQUE, name text NOT NULL, open boolean NOT NULL DEFAULT true);
INSERT INTO shops {values};
CREATE TABLE rates (id integer PRIMARY KEY, shop {type} REFERENCES shops, code text NOT NULL UNIQUE);
INSERT INTO rates SELECT n, CASE WHEN n % 3 > 0 THEN (SELECT id FROM shops ORDER BY slug LIMIT 1) END, 'rate ' || n FROM generate_series(1, 30) n;
"""
SHOP_SPEC = """
[tenant]
table = "shops"
column = "shop"
[application]
role = "{role}"
[[table]]
name = "rates"
paths = [["shop"]]
orphans = "shared"
"""
KEYS = {
    "uuid": ("uuid DEFAULT gen_random_uuid()", "(slug, name) VALUES ('one', 'One'), ('two', 'Two')"),
    "smallint": ("smallint GENERATED ALWAYS AS IDENTITY", "(slug, name) VALUES ('one', 'One'), ('two', 'Two')"),
    "bigint": ("bigserial", "(slug, name) VALUES ('one', 'One'), ('two', 'Two')"),
    "char(3)": ("char(3)", "VALUES ('one', 'one', 'One'), ('two', 'two', 'Two')"),
    "varchar(5)": ("varchar(5)", "VALUES ('one', 'one', 'One'), ('two', 'two', 'Two')"),
}


@pytest.mark.parametrize("type", daily(KEYS, 2))
def test_keys_of_other_types(type: str, database: Database, role: Callable[..., str]) -> None:
    key, values = KEYS[type]
    database.execute(SHOP.format(key=key, type=type, values=values))
    spec = Spec.parse(SHOP_SPEC.format(role=role(create=False, name="app")))
    target, dump, rows = Target(database.dsn), database.dump(), checksums(database)
    migrate(target, spec, DISTRIBUTE)
    assert [one for one in validate(target, spec).findings if one.severity.serious] == []
    assert database.rows("SELECT count(*), count(DISTINCT shop) FROM rates") == [(30, 2)]
    assert [one for one in rollback(target, RollbackOptions()).findings if one.severity.serious] == []
    assert database.dump() == dump
    assert checksums(database) == rows
