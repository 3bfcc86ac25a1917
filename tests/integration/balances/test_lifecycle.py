"""Install, validate, remove, and what stands in their way; the command as people run it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from balances.reconciling import SMALL, reconcile
from balances.stock import FALSE_BALANCES, LEDGER, SPEC, TENANTS, MakeStock
from servers import Database, wait_until
from tenantry import MigrateOptions, RollbackOptions, compact_balances, migrate, rollback
from tenantry.errors import ExitStatus, Refused, UsageError
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec

Command = Any
LINES = ["table", "functions", "triggers", "view", "indexes", "row security", "backfilled", "balances"]


@pytest.mark.server
def test_install_backfill_validate_remove(stock: MakeStock) -> None:
    """Stale until backfilled, which readers see; twice is once; afterwards the schema is what it was."""
    shop = stock(rows=100)
    before = shop.database.dump()
    first = shop.install()
    assert (first.applied, first.found) == (4, 0)
    assert shop.failing() == ["backfilled", "balances"]
    shop.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 5)")
    assert shop.rows("SELECT DISTINCT stale FROM balances") == [(True,)]
    assert shop.backfill().rows > 0
    assert list(shop.validate()) == LINES
    assert shop.failing() == []
    assert shop.rows("SELECT DISTINCT stale FROM balances") == [(False,)]
    again = shop.install()
    assert (again.applied, again.found) == (0, 4)
    assert shop.backfill().rows == 0
    assert shop.remove().applied == 4
    assert shop.database.dump() == before
    assert (
        shop.rows("SELECT relname FROM pg_class WHERE relnamespace = 'tenantry'::regnamespace AND relname ~ ' '") == []
    )
    assert shop.remove().applied == 0


@pytest.mark.server
@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ("DROP TRIGGER tenantry_balances_delete ON ledger", "triggers"),
        ("ALTER TABLE ledger_high_1 DISABLE TRIGGER tenantry_balances_insert", "triggers"),
        ("ALTER TABLE ledger DISABLE TRIGGER tenantry_balances_update", "triggers"),
        ("CREATE TABLE ledger_new PARTITION OF ledger FOR VALUES FROM (100) TO (200)", "triggers"),
    ],
)
def test_stale_after_a_trigger_was_missing(stock: MakeStock, damage: str, line: str) -> None:
    """What was written meanwhile was not counted: install puts the trigger back, and says so until a backfill."""
    shop = stock(rows=50)
    shop.install()
    shop.backfill()
    shop.execute(damage)
    assert shop.failing() == [line]
    with pytest.raises(Refused, match="Some triggers"):
        shop.backfill()
    assert shop.install().applied == 1
    assert shop.failing() == ["backfilled"]
    shop.backfill()
    assert shop.failing() == []


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ("CREATE OR REPLACE FUNCTION tenantry.\"move_public__ledger\"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
         " SET search_path = pg_catalog AS 'BEGIN RETURN NULL; END'", ["functions"]),
        ("GRANT EXECUTE ON FUNCTION tenantry.\"move_public__ledger\"() TO PUBLIC", ["functions"]),
        ("DROP INDEX tenantry.\"balances_public__ledger_key\"", ["table", "indexes"]),
        ("ALTER TABLE tenantry.\"balances_public__ledger\" DISABLE ROW LEVEL SECURITY", ["table", "row security"]),
        ("GRANT UPDATE ON tenantry.\"balances_public__ledger\" TO PUBLIC", ["row security"]),
        ("ALTER VIEW balances RESET (security_barrier)", ["view", "row security"]),
        ("DROP VIEW balances", ["view", "row security"]),
        ("UPDATE tenantry.\"balances_public__ledger\" SET quantity = quantity + 1 WHERE item = 3", ["balances"]),
    ],
)  # fmt: skip
def test_what_was_altered_is_found_and_put_right(stock: MakeStock, damage: str, line: list[str]) -> None:
    """Each thing has its line."""
    shop = stock(rows=50)
    shop.install()
    shop.backfill()
    shop.execute(damage)
    assert shop.failing() == line
    shop.install()
    if "GRANT UPDATE" in damage:
        shop.execute('REVOKE UPDATE ON tenantry."balances_public__ledger" FROM PUBLIC')
    shop.backfill()
    assert shop.failing() == []


def test_the_index_that_reconciliations_need(stock: MakeStock) -> None:
    """Its absence is no fault, and is said; so is what there is."""
    shop = stock(rows=10)
    shop.install()
    shop.execute("CREATE INDEX partial ON ledger (org, item) WHERE lot IS NULL; CREATE INDEX late ON ledger (id, org)")
    line = shop.validate()["indexes"]
    assert line.holds
    assert "reads the whole table" in line.message
    assert "(org, item, location, lot) INCLUDE (quantity)" in line.remedy
    shop.execute("CREATE INDEX by_item ON ledger (item, lower(lot), org)")
    assert "by_item (item)" in shop.validate()["indexes"].message
    shop.execute("CREATE INDEX by_key ON ledger (item, org, lot)")
    assert "by_key (item, org)" in shop.validate()["indexes"].message


@pytest.mark.server
def test_install_does_not_keep_writers_waiting(stock: MakeStock) -> None:
    """Behind a transaction that holds the ledger it gives up at once, again and again, and writers pass."""
    shop = stock(rows=10)
    with shop.connect() as holder, shop.connect(autocommit=True) as writer:
        holder.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 1)")
        installing = threading.Thread(target=lambda: shop.install(lock_timeout=0.2))
        installing.start()
        wait_until(lambda: shop.rows("SELECT FROM pg_locks WHERE NOT granted") != [])
        writer.execute("SET statement_timeout = '60s'")
        for _ in range(20):
            writer.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 1)")
        holder.commit()
        installing.join(timeout=60)
        assert not installing.is_alive()
    shop.backfill()
    assert shop.failing() == []


def test_a_view_of_the_users_is_not_dropped(stock: MakeStock) -> None:
    """Remove names it, and takes nothing away."""
    shop = stock(rows=10)
    shop.install()
    shop.execute("CREATE VIEW report AS SELECT item, quantity FROM balances")
    with pytest.raises(Refused, match=r"public\.report reads from public\.balances"):
        shop.remove()
    shop.backfill()
    assert shop.failing() == []


def part(**changes: str) -> str:
    """The spec, with other lines in [[ledger]]."""
    before, head, text = SPEC.partition("[[ledger]]")
    for name, value in changes.items():
        lines = [line for line in text.splitlines() if not line.startswith(f"{name} =")]
        text = "\n".join([*lines, f"{name} = {value}"])
    return before + head + text


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (part(table='"ledgr"'), UsageError, "the table public.ledgr does not exist; did you mean"),
        (part(key='["org", "itm"]'), UsageError, "no column 'itm'; did you mean \"item\""),
        (part(key='["org", "item", "org"]'), UsageError, "is twice in the key"),
        (part(quantity='"note"'), UsageError, "note is of type text, which is not a number type"),
        (part(table='"ledger_low"'), UsageError, "is a partition"),
        (part(balance='"tenants"'), Refused, "public.tenants exists already, and was not made by tenantry"),
        (part(key='["org", "shape"]'), UsageError, "shape is of type point"),
        (part(key='["org", "version"]'), UsageError, "'version' has the name of a column of every balance"),
        (SPEC.split("[[ledger]]")[0], UsageError, r"has no \[\[ledger"),
    ],
)
def test_what_does_not_fit(stock: MakeStock, text: str, error: type[Exception], message: str) -> None:
    """One sentence, and nothing is made."""
    shop = stock(LEDGER + "ALTER TABLE ledger ADD shape point, ADD version integer;", text)
    before = shop.database.dump()
    with pytest.raises(error, match=message):
        shop.install()
    assert shop.database.dump() == before


@pytest.mark.parametrize("change", [{"key": '["org", "item"]'}, {"quantity": '"id"'}, {"balance": '"others"'}])
def test_another_key_wants_another_table(stock: MakeStock, change: dict[str, str]) -> None:
    """What balances are of cannot change in the spec while they are there: half of each sum would be of the other."""
    shop = stock(rows=10)
    shop.install()
    shop.backfill()
    with pytest.raises(Refused, match="installed with another key, quantity or name"):
        type(shop)(database=shop.database, text=part(**change)).install()
    assert shop.failing() == []


def test_inheritance_and_row_security_are_refused(stock: MakeStock) -> None:
    """Rows that come and go past the triggers, or that somebody must not see, are no ledger's yet."""
    shop = stock("CREATE TABLE ledger (org int, item int, location int, lot text, quantity numeric, note text);")
    shop.execute("CREATE TABLE heir () INHERITS (ledger)")
    with pytest.raises(Refused, match="inheritance"):
        shop.install()
    shop.execute("DROP TABLE heir; ALTER TABLE ledger ENABLE ROW LEVEL SECURITY")
    type(shop)(database=shop.database, text=SPEC)
    with pytest.raises(Refused, match="has row-level security"):
        shop.install()


OWNED = """
[tenant]
table = "tenants"
[application]
role = "{}"
[[table]]
name = "ledger"
paths = [["org"]]
column = "org"
[[ledger]]
table = "ledger"
balance = "balances"
key = ["org", "item", "lot"]
"""


def test_a_tenant_column_that_is_still_to_come(stock: MakeStock) -> None:
    """It is no mistake in the key: what has to be done first is said."""
    owned = '[[table]]\nname = "items"\npaths = [["org"]]\n'
    text = OWNED.format("app").replace('paths = [["org"]]\ncolumn = "org"\n', f'paths = [["item"]]\n{owned}')
    shop = stock(
        "CREATE TABLE items (id integer PRIMARY KEY, org integer NOT NULL REFERENCES tenants);"
        "CREATE TABLE ledger (item integer NOT NULL REFERENCES items, lot text, quantity integer)",
        text.replace('"org", "item"', '"tenant_id", "item"'),
    )
    with pytest.raises(Refused, match="no column tenant_id yet") as refused:
        shop.install()
    assert "migrate --until backfill" in refused.value.remedy


@pytest.mark.server
def test_migrate_around_it_and_rollback_refused(stock: MakeStock, role: Callable[..., str]) -> None:
    """Balances installed before isolate follow the ledger through it, and the application reads its own from then on;
    a rollback names what to do first."""
    shop = stock(
        "CREATE TABLE ledger (id integer PRIMARY KEY, org integer REFERENCES tenants, item integer, lot text,"
        " quantity integer); INSERT INTO tenants VALUES (1, 'a'), (2, 'b');"
        "INSERT INTO ledger VALUES (1, 1, 1, NULL, 4), (2, 2, 1, NULL, 5)",
        OWNED.format(role(create=False, name="app")),
    )
    before = shop.database.dump()
    shop.install()
    shop.backfill()
    migrate(shop.target, shop.spec, MigrateOptions(until=Phase.CONTRACT))
    assert shop.failing() == []
    assert shop.install().applied == 0
    shop.execute("INSERT INTO ledger VALUES (3, 2, 1, NULL, 6)")
    with shop.connect() as session:
        session.execute(f'SET LOCAL ROLE "{shop.spec.application.role}"; SET LOCAL app.tenant_id = 2')
        assert session.execute("SELECT org, quantity::integer FROM balances").fetchall() == [(2, 11)]
    assert shop.rows("SELECT org, quantity::integer FROM balances ORDER BY org") == [(1, 4), (2, 11)]
    for options in (RollbackOptions(), RollbackOptions(preserve_data=True), RollbackOptions(force=True)):
        with pytest.raises(Refused) as refused:
            rollback(shop.target, options)
        assert "balances remove" in refused.value.remedy
    shop.remove()
    rollback(shop.target, RollbackOptions())
    assert shop.database.dump() == before


# --- the command


@pytest.fixture
def shop_spec(tenantry: Command, database: Database) -> Path:
    """The ledger in the command's database, and tenantry.toml in its folder."""
    database.execute(TENANTS + LEDGER)
    database.execute("INSERT INTO ledger (org, item, quantity) SELECT 1, g % 5, g FROM generate_series(1, 40) g")
    path = tenantry.folder / "tenantry.toml"
    path.write_text(SPEC)
    return path


def test_the_command(tenantry: Command, shop_spec: Path, database: Database) -> None:
    """Dry runs change nothing; validate exits 1 while stale; remove and empty want --confirm."""
    before = database.dump()
    dry = tenantry("balances", "install", "--dry-run")
    assert dry.status == 0
    assert "SHARE ROW EXCLUSIVE" in dry.stdout
    assert database.dump() == before
    assert tenantry("balances", "install", "--hot-keys", "slots=4").status == 0
    stale = tenantry("balances", "validate")
    assert stale.status == 1
    assert "✗ stale since" in stale.stdout
    assert tenantry("balances", "backfill").status == 0
    for _ in range(8):
        database.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 0)")
    database.execute("UPDATE tenantry.\"balances_public__ledger\" SET last_movement = now() - interval '1 hour'")
    folded = tenantry("balances", "compact", "--json")
    assert folded.status == 0
    assert folded.json["folded"]["public.ledger"] >= 1
    assert tenantry("balances", "compact").stdout == "public.ledger: 0 rows folded.\n"
    database.execute("DELETE FROM ledger WHERE quantity = 0")
    shown = tenantry("balances", "empty")
    assert shown.status == 4
    assert "TRUNCATE" in shown.stdout
    assert database.rows("SELECT count(*) FROM ledger") == [(40,)]
    assert "A backup: 1 table, " in shown.stdout
    unsaved = tenantry("balances", "empty", "--confirm", "--backup", "none")
    assert (unsaved.status, "without a backup" in unsaved.stderr) == (4, True)
    balances = "SELECT item, quantity::integer FROM balances ORDER BY item"
    before_it = database.rows(balances)
    assert tenantry("balances", "empty", "--confirm").status == 0
    assert database.rows("SELECT (SELECT count(*) FROM ledger), (SELECT count(*) FROM balances)") == [(0, 0)]
    (saved,) = tenantry("backups", "list", "--json").json["backups"]
    assert (saved["reason"], saved["tables"]) == ("emptying", {"public.ledger": 40})
    assert tenantry("backups", "restore", saved["id"]).status == 0
    assert database.rows(balances) == before_it
    assert tenantry("balances", "empty", "--confirm", "--backup", "none", "--force").status == 0
    reasons = [one["reason"] for one in tenantry("backups", "list", "--json").json["backups"]]
    assert reasons == ["restore", "emptying"]
    asked = tenantry("balances", "remove")
    assert asked.status == 4
    assert "--confirm" in asked.stderr
    assert "fails from now on" not in asked.stdout
    assert tenantry("balances", "remove", "--confirm").status == 0
    assert database.dump() == before


def test_bad_options(tenantry: Command, shop_spec: Path) -> None:
    """Wrong usage is one sentence and exit 2."""
    assert tenantry("balances", "install", "--hot-keys", "many").status == 2
    shop_spec.write_text(SPEC + "non_negative = true\nhot_keys = 2\n")
    both = tenantry("balances", "install")
    assert both.status == 2
    assert "one row for each key" in both.stderr


def test_balances_before_the_first_migrate(stock: MakeStock) -> None:
    """Whoever changes the schema first has it described: a rollback finds it as it was."""
    made = stock(rows=10)
    made.install()
    made.backfill()
    migrate(made.target, made.spec, MigrateOptions(force=True, backup=BackupKind.NONE))
    made.remove()
    result = rollback(made.target, RollbackOptions(force=True))
    assert result.exit_status is ExitStatus.DONE, result.findings


def test_a_renamed_ledger_keeps_its_balances(stock: MakeStock) -> None:
    """They are called after its old name, and stay what its movements say; the next migrate writes its new name into
    them. A table that takes the old name has to wait for its own."""
    shop = stock(rows=60)
    before = shop.database.dump()
    shop.install()
    shop.backfill()
    shop.execute("ALTER TABLE ledger RENAME TO movements")
    renamed = type(shop)(database=shop.database, text=SPEC.replace('"ledger"', '"movements"'))
    move = "INSERT INTO movements (org, item, quantity) VALUES (1, 1, 5)"
    false = FALSE_BALANCES.replace("FROM ledger", "FROM movements")
    shop.execute(move)
    assert shop.rows(false) == []
    migrate(shop.target, renamed.spec, MigrateOptions(force=True, until=Phase.EXPAND, backup=BackupKind.NONE))
    shop.execute(move)
    assert renamed.failing() == []
    assert shop.rows(false) == []
    assert renamed.backfill().rows == 0
    shop.execute("CREATE TABLE ledger (LIKE movements)")
    part = SPEC[SPEC.index("[[ledger]]") :].replace('"balances"', '"others"')
    both = f'{renamed.text}[[table]]\nname = "ledger"\nshared = true\n{part}'
    with pytest.raises(Refused, match=r"installed when that table had the name public\.ledger"):
        type(shop)(database=shop.database, text=both).install(ledger="ledger")
    shop.execute("DROP TABLE ledger")
    renamed.remove()
    rollback(shop.target, RollbackOptions(force=True, backup=BackupKind.NONE))
    shop.execute("ALTER TABLE movements RENAME TO ledger")
    assert shop.database.dump() == before
    left = "SELECT relname FROM pg_class WHERE relnamespace = 'tenantry'::regnamespace AND relname ~ ' '"
    assert shop.rows(left) == []


@pytest.mark.parametrize("positive", [False, True])
def test_movements_count_whatever_columns_are_called(stock: MakeStock, *, positive: bool) -> None:
    """The application renames what its balances go by, and goes on writing: row by row, in bulk, from one partition to
    another, and as a replica does. Once a column is gone, its writes go on and readers are told that balances are
    stale."""
    shop = stock(LEDGER, SPEC + "non_negative = true\n" * positive)
    shop.install()
    shop.backfill()
    shop.execute("INSERT INTO ledger (org, item, lot, quantity) VALUES (1, 1, 'a', 5), (1, 4, NULL, 5)")
    shop.execute("ALTER TABLE ledger RENAME lot TO batch; ALTER TABLE ledger RENAME quantity TO amount")
    old = "(SELECT org, item, location, batch AS lot, amount AS quantity FROM ledger) AS ledger"
    insert = "INSERT INTO ledger (org, item, batch, amount)"
    for statement in (
        f"{insert} VALUES (1, 1, 'b', 3)",
        f"{insert} SELECT 1, g, 'c', 2 FROM generate_series(1, 6) g",
        "UPDATE ledger SET amount = amount + 1 WHERE item = 1",
        "UPDATE ledger SET item = 5, batch = NULL WHERE item = 2",
        "INSERT INTO ledger_low (org, item, batch, amount) VALUES (2, 2, 'd', 1)",
        "DELETE FROM ledger WHERE item = 3",
        f"SET session_replication_role = replica; {insert} VALUES (1, 1, 'b', 3); UPDATE ledger SET amount = 9 WHERE item = 4",
        "SET tenantry.emptying = on; TRUNCATE ledger_low",
    ):
        shop.execute(statement)
        assert shop.rows(FALSE_BALANCES.replace("FROM ledger", f"FROM {old}")) == [], statement
    assert shop.rows("SELECT DISTINCT stale FROM balances") == [(False,)]
    with pytest.raises(UsageError, match=r"The column 'lot' of public.ledger was renamed to 'batch'"):
        shop.validate()
    if positive:
        with pytest.raises(psycopg.errors.CheckViolation, match="below zero"):
            shop.execute(f"{insert} VALUES (1, 5, NULL, -100)")
    shop.execute("ALTER TABLE ledger DROP COLUMN batch")
    shop.execute("INSERT INTO ledger (org, item, amount) VALUES (1, 1, 5); DELETE FROM ledger WHERE item = 5")
    assert shop.rows("SELECT DISTINCT stale FROM balances") == [(True,)]
    shop.remove()
    assert "tenantry" not in shop.database.dump()


@pytest.mark.server
@pytest.mark.parametrize("take_over", ["migrate", "install"])
def test_renamed_columns_keep_their_balances(stock: MakeStock, take_over: str) -> None:
    """The spec has the new names: the functions are made anew with them, nothing is counted again, and readers go on
    under the names that they have. A new column that takes an old name is another one."""
    shop = stock(LEDGER, rows=60)
    before = shop.database.dump()
    shop.install()
    shop.backfill()
    for old, new in (("lot", "batch"), ("batch", "box")):
        shop.execute(f"ALTER TABLE ledger RENAME {old} TO {new}")
        if old == "lot":
            shop.execute("ALTER TABLE ledger RENAME quantity TO amount")
        else:
            shop.execute("ALTER TABLE ledger ADD lot text DEFAULT 'another'")
        text = SPEC.replace('"lot"]', f'"{new}"]\nquantity = "amount"')
        renamed = type(shop)(database=shop.database, text=text)
        if take_over == "install":
            renamed.install()
        else:
            migrate(shop.target, renamed.spec, MigrateOptions(force=True, until=Phase.EXPAND, backup=BackupKind.NONE))
        false = FALSE_BALANCES.replace(
            "FROM ledger", f"FROM (SELECT org, item, location, {new} AS lot, amount AS quantity FROM ledger) AS ledger"
        )
        written = shop.rows(
            'SELECT bool_or(prosrc ~ \'entry."batch"|entry."box"\') FROM pg_proc'
            " WHERE pronamespace = 'tenantry'::regnamespace"
        )
        assert written == [(True,)]
        for statement in (
            f"INSERT INTO ledger (org, item, {new}, amount) VALUES (1, 1, 'b', 3), (1, 4, NULL, 2)",
            "UPDATE ledger SET item = 5 WHERE item = 2",
            "SET session_replication_role = replica; DELETE FROM ledger WHERE item = 3",
        ):
            shop.execute(statement)
            assert shop.rows(false) == [], statement
        assert renamed.failing() == []
        assert renamed.backfill().rows == 0
        assert shop.rows("SELECT DISTINCT stale FROM balances") == [(False,)]
        # One that somebody has changed is found by the names of now, and put right.
        shop.execute(SMALL)
        assert shop.rows(false) != []
        reconcile(renamed)
        assert shop.rows(false) == []
    renamed.remove()
    rollback(shop.target, RollbackOptions(force=True, backup=BackupKind.NONE))
    shop.execute("ALTER TABLE ledger DROP lot; ALTER TABLE ledger RENAME box TO lot")
    shop.execute("ALTER TABLE ledger RENAME amount TO quantity")
    assert shop.database.dump() == before


def test_a_ledger_that_is_gone_takes_its_balances_along(stock: MakeStock) -> None:
    """Dropped by its owner: nothing is refused, and nothing of ours is left."""
    shop = stock(rows=10)
    shop.install()
    shop.execute("DROP TABLE ledger CASCADE")
    without = Spec.parse(SPEC[: SPEC.index("[[table]]")])
    migrate(shop.target, without, MigrateOptions(force=True, until=Phase.EXPAND, backup=BackupKind.NONE))
    assert shop.rows("SELECT key FROM tenantry.steps WHERE key LIKE 'balance%'") == []
    left = "SELECT relname FROM pg_class WHERE relnamespace = 'tenantry'::regnamespace AND relname ~ ' '"
    assert (
        shop.rows(f"{left} UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'tenantry'::regnamespace") == []
    )
    assert shop.rows("SELECT ledger FROM tenantry.ledgers") == []


def test_what_the_application_may_do_with_partitions(stock: MakeStock, role: Callable[..., str]) -> None:
    """Balances take the right to write to partitions from the application. The plan is the same as without them, and
    gives it to nobody; another role takes its place, and after all is back who had it first has it again."""
    first, other = role(name="first"), role(name="other")
    text = OWNED.replace('["org", "item", "lot"]', '["org", "item"]')
    shop = stock(
        "CREATE TABLE ledger (org integer NOT NULL REFERENCES tenants, item integer NOT NULL, quantity integer NOT NULL) PARTITION BY RANGE (item); CREATE TABLE low PARTITION OF ledger FOR VALUES FROM (0) TO (9);"
        f"GRANT INSERT, SELECT ON low TO {first}; GRANT UPDATE ON low TO {other}; INSERT INTO tenants VALUES (1, 'a');"
        f"GRANT SELECT ON ledger TO {other}",
        text.format(first),
    )
    before = shop.database.dump()
    migrate(shop.target, shop.spec, MigrateOptions(force=True, backup=BackupKind.NONE))
    shop.install()
    shop.backfill()
    may = f"SELECT has_table_privilege('{first}', 'low', 'INSERT'), has_table_privilege('{other}', 'low', 'UPDATE')"
    reads = f"SELECT has_table_privilege('{first}', 'balances', 'SELECT'), has_table_privilege('{other}', 'balances', 'SELECT')"
    assert (shop.rows(may), shop.rows(reads)) == ([(False, True)], [(True, True)])
    assert migrate(shop.target, shop.spec, MigrateOptions(force=True, backup=BackupKind.NONE)).applied == 0
    second = type(shop)(database=shop.database, text=text.format(other))
    migrate(shop.target, second.spec, MigrateOptions(force=True, backup=BackupKind.NONE))
    assert (shop.rows(may), shop.rows(reads)) == ([(True, False)], [(False, True)])
    assert second.failing() == []
    second.remove()
    assert rollback(shop.target, RollbackOptions(backup=BackupKind.NONE)).exit_status is ExitStatus.DONE
    assert shop.database.dump() == before


def test_stock_below_zero_after_slots(stock: MakeStock) -> None:
    """Whether a key would go below zero is asked of one row: while there are several, the spec has to wait."""
    shop = stock(rows=10, text=part(hot_keys="3"))
    shop.execute("UPDATE ledger SET quantity = 1")
    shop.install()
    shop.backfill()
    shop.execute("INSERT INTO ledger (org, item, quantity) SELECT 1, 1, 5 FROM generate_series(1, 9)")
    single, positive = (
        type(shop)(database=shop.database, text=part(hot_keys="0", non_negative=value)) for value in ("false", "true")
    )
    options = MigrateOptions(force=True, until=Phase.EXPAND, backup=BackupKind.NONE)
    for before in (shop, single):
        migrate(shop.target, before.spec, options)
        with pytest.raises(Refused, match="spread over slots") as refused:
            migrate(shop.target, positive.spec, options)
        assert "balances compact" in refused.value.message
    shop.execute("UPDATE tenantry.\"balances_public__ledger\" SET last_movement = now() - interval '1 hour'")
    compact_balances(shop.target, single.spec)
    migrate(shop.target, positive.spec, options)
    assert positive.failing() == []
    with pytest.raises(psycopg.errors.CheckViolation):
        shop.execute("INSERT INTO ledger (org, item, quantity) VALUES (1, 1, -1000)")


@pytest.mark.parametrize(("first", "option", "slots"), [("3", None, 0), (None, 3, 3)], ids=["spec", "install"])
def test_slots_that_leave_the_spec(first: str | None, option: int | None, slots: int, stock: MakeStock) -> None:
    """What the spec has no more goes; what `install` was told stays until the spec says something else."""
    silent = stock(rows=10)
    shop = type(silent)(database=silent.database, text=silent.text if first is None else part(hot_keys=first))
    shop.install(slots=option)
    shop.backfill()
    spread = 'SELECT count(DISTINCT slot) FROM tenantry."balances_public__ledger" WHERE slot > 0'
    move = "INSERT INTO ledger (org, item, quantity) VALUES (1, 1, 5)"
    shop.execute(move)
    assert shop.rows(spread) == [(1,)]
    assert silent.failing() == (["functions"] if slots == 0 else [])
    options = MigrateOptions(force=True, until=Phase.EXPAND, backup=BackupKind.NONE)
    migrate(silent.target, silent.spec, options)
    shop.execute('DELETE FROM tenantry."balances_public__ledger"')
    shop.execute(move)
    assert shop.rows(spread) == [(min(slots, 1),)]
    none = type(silent)(database=silent.database, text=part(hot_keys="0"))
    migrate(none.target, none.spec, options)
    assert migrate(silent.target, silent.spec, options).applied == 0


GOING = """
CREATE TABLE shops (id int PRIMARY KEY, org int NOT NULL REFERENCES tenants);
CREATE TABLE ledger (id int PRIMARY KEY, shop int NOT NULL REFERENCES shops, item int NOT NULL, quantity numeric NOT NULL);
INSERT INTO tenants VALUES (1, 'a'); INSERT INTO shops VALUES (1, 1); INSERT INTO ledger VALUES (1, 1, 1, 5);
"""
GOING_SPEC = """
[tenant]
table = "tenants"
[application]
role = "{role}"
[[table]]
name = "shops"
paths = [["org"]]
[[table]]
name = "ledger"
{ledger}
[[ledger]]
table = "ledger"
balance = "balances"
key = ["tenant_id", "item"]
"""


def test_balances_of_a_table_that_is_owned_no_more(stock: MakeStock, role: Callable[..., str]) -> None:
    """Their key holds the tenant: they go first, which is said."""
    name = role(create=False, name="app")
    made = stock(GOING, GOING_SPEC.format(role=name, ledger='paths = [["shop"]]'))
    migrate(made.target, made.spec, MigrateOptions(backup=BackupKind.NONE))
    made.install()
    there = made.database.dump()
    shared = Spec.parse(GOING_SPEC.format(role=name, ledger="shared = true"))
    with pytest.raises(Refused) as caught:
        migrate(made.target, shared, MigrateOptions(force=True, backup=BackupKind.NONE))
    assert "balances remove" in caught.value.remedy
    assert made.database.dump() == there
    made.remove()
    migrate(made.target, shared, MigrateOptions(force=True, backup=BackupKind.NONE))
    assert rollback(made.target, RollbackOptions()).exit_status is ExitStatus.DONE
