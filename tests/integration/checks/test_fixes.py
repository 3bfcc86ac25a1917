"""--fix-issues and the way back: rows are set right, and every value can be put back, byte for byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from checks.repairing import WRONG_ROWS, WRONG_TENANTS, built, contents, counts_by_check, fixed, quietly, spec
from servers import Database
from tenantry import BackupOptions, RestoreOptions, RollbackOptions, list_backups, restore, rollback
from tenantry.commands.undo import list_fixes, undo_fixes
from tenantry.errors import ExitStatus, Refused, UsageError
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.postgres.connect import Target


@pytest.fixture
def filled(template: Callable[..., Database]) -> Database:
    """The business with every row filled, and no key yet that would refuse a wrong tenant."""
    return template("repairing backfill", built(Phase.BACKFILL))


@pytest.fixture
def isolated(template: Callable[..., Database]) -> Database:
    return template("repairing isolated", built(Phase.ISOLATE))


def changed_cells(before: dict[str, list[tuple[str]]], after: dict[str, list[tuple[str]]]) -> dict[str, int]:
    """How many rows of each table differ."""
    return {name: len(set(before[name]) - set(after[name])) for name in before if before[name] != after[name]}


@pytest.mark.server
@pytest.mark.differs
def test_fix_and_undo(filled: Database) -> None:
    """Wrong tenants, rows without one, orphans and rows against a rule are set right; then all is put back, what the
    user's triggers changed on the way included, and the schema is what it was."""
    quietly(filled, WRONG_TENANTS + WRONG_ROWS)
    before, dump = contents(filled), filled.dump()
    outcome = fixed(filled, rows=7)
    assert outcome.verdict.exit_status is ExitStatus.DONE, outcome.verdict.findings
    assert all(one.left == 0 and not one.refusals for one in outcome.corrections), outcome.corrections
    by_name = {(one.name, one.table.name): one.fixed for one in outcome.corrections}
    assert by_name["tenant-from-paths", "Item"] == 40
    assert by_name["tenant-of-orphans", "Item"] == 1
    assert by_name["tenant-of-orphans", "lost"] == 1
    assert by_name["negative", "Item"] == 50
    assert by_name["unseen", "event"] == 28
    tenants = filled.rows(
        'SELECT i.slug, l.slug FROM (SELECT t.slug FROM tenants t JOIN "Item" i ON i.tenant_id = t.id WHERE i.id = 7) i,'
        " (SELECT t.slug FROM tenants t JOIN lost l ON l.tenant_id = t.id WHERE l.id = 3) l"
    )
    assert tenants == [("one", "quarantine")]
    # A tenant is set past the user's triggers; a rule's fix is an update like any other.
    assert filled.rows("SELECT count(*) FROM \"Item\" WHERE updated_at <> '2025-01-01'") == [(50,)]
    assert filled.rows("SELECT count(*), count(*) FILTER (WHERE kind = 'seen!') FROM event WHERE id % 7 = 0") == [
        (28, 28)
    ]
    assert filled.dump() == dump
    undone = undo_fixes(Target(filled.dsn), outcome.verdict.run, rows=11)
    assert undone.conflicts == 0
    assert undone.rows == sum(one.fixed for one in outcome.corrections)
    assert contents(filled) == before
    assert filled.dump() == dump
    again = undo_fixes(Target(filled.dsn), outcome.verdict.run)
    assert (again.left, again.rows) == (0, 0)
    assert fixed(filled).verdict.exit_status is ExitStatus.DONE


@pytest.mark.server
def test_rules_on_an_isolated_database_as_its_owner(isolated: Database, role: Callable[..., str]) -> None:
    """An owner that row security is forced upon sees all rows, corrects them, and puts them back."""
    owner = role("LOGIN", name="owner")
    quietly(isolated, WRONG_ROWS)
    isolated.load(
        f"""
        DO $$ DECLARE found record; BEGIN
          EXECUTE format('GRANT CREATE ON DATABASE %I TO {owner}', current_database());
          FOR found IN SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relkind IN ('r', 'p')
            AND c.relnamespace::regnamespace::text IN ('public', 'tenantry') AND NOT c.relispartition LOOP
            EXECUTE format('ALTER TABLE %s OWNER TO {owner}', found.name);
          END LOOP;
          FOR found IN SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relispartition AND c.relkind = 'r'
            AND c.relnamespace = 'public'::regnamespace LOOP
            EXECUTE format('ALTER TABLE %s OWNER TO {owner}', found.name);
          END LOOP;
          FOR found IN SELECT DISTINCT p.tablename, p.schemaname FROM pg_policies p LOOP
            EXECUTE format('CREATE POLICY tenantry_operator ON %I.%I TO {owner} USING (true) WITH CHECK (true)',
              found.schemaname, found.tablename);
            EXECUTE format('ALTER POLICY tenantry_floor ON %I.%I USING (true) WITH CHECK (true)',
              found.schemaname, found.tablename);
          END LOOP;
          EXECUTE 'ALTER SCHEMA tenantry OWNER TO {owner}';
        END $$"""
    )
    before = contents(isolated)
    dsn = isolated.dsn.replace("user=postgres", f"user={owner}")
    outcome = fixed(isolated, dsn=dsn)
    assert {one.name: (one.fixed, one.left) for one in outcome.corrections} == {
        "negative": (50, 0), "unseen": (28, 0), "state": (22, 0),
    }  # fmt: skip
    assert contents(isolated) != before
    undo_fixes(Target(dsn), outcome.verdict.run)
    assert contents(isolated) == before


@pytest.mark.server
def test_what_keys_carry_along_comes_back(filled: Database) -> None:
    """Rows that ON UPDATE CASCADE changes with those that are fixed have their images too, however far away."""
    filled.load("UPDATE brand SET label = upper(label) WHERE code::int % 2 = 0")
    before = contents(filled)
    outcome = fixed(filled, rows=3)
    assert outcome.verdict.exit_status is ExitStatus.DONE
    listed = {(one.table.name, one.rows) for one in list_fixes(Target(filled.dsn))}
    assert listed == {("brand", 10), ("model", 10), ("variant", 10)}
    assert changed_cells(before, contents(filled)) == {"brand": 10, "model": 10, "variant": 10}
    undo_fixes(Target(filled.dsn), outcome.verdict.run, rows=4)
    assert contents(filled) == before


def test_the_database_may_refuse_to_go_back(isolated: Database) -> None:
    """A wrong tenant that a key of the migration would refuse is fixed, with the rows below it; it cannot be put back,
    and that is said."""
    quietly(
        isolated,
        """UPDATE "Item" SET tenant_id = (SELECT id FROM tenants t WHERE t.id <> tenant_id AND slug <> 'quarantine') WHERE id = 9;
        UPDATE part SET tenant_id = (SELECT tenant_id FROM "Item" WHERE id = 9) WHERE item_id = 9;
        UPDATE event SET tenant_id = (SELECT tenant_id FROM "Item" WHERE id = 9) WHERE item_id = 9;
        UPDATE lost SET tenant_id = (SELECT tenant_id FROM "Item" WHERE id = 9) WHERE item_id = 9""",
    )
    assert any(name.startswith("tenant-differs") for name in counts_by_check(isolated))
    outcome = fixed(isolated)
    assert outcome.verdict.exit_status is ExitStatus.DONE, outcome
    assert {one.table.name for one in list_fixes(Target(isolated.dsn))} >= {"Item", "part", "event", "lost"}
    after = contents(isolated)
    with pytest.raises(Refused, match="refuses to restore rows"):
        undo_fixes(Target(isolated.dsn), outcome.verdict.run)
    assert contents(isolated) == after


def test_what_somebody_has_changed_since(filled: Database) -> None:
    """A row that was changed or deleted since is named, and nothing is put back; --force puts back what is there."""
    quietly(filled, WRONG_ROWS)
    before = contents(filled)
    run = fixed(filled).verdict.run
    filled.execute(
        """UPDATE part SET state = 'sold' WHERE item_id = 9; UPDATE part SET state = 'bad' WHERE item_id = 18;
        DELETE FROM part WHERE item_id = 27"""
    )
    after = contents(filled)
    with pytest.raises(Refused, match="2 of the rows") as refusal:
        undo_fixes(Target(filled.dsn), run)
    assert any("line = 1, item_id = 9" in line and "state changed" in line for line in refusal.value.details)
    assert any("item_id = 27" in line and "deleted since" in line for line in refusal.value.details)
    assert contents(filled) == after
    dry = undo_fixes(Target(filled.dsn), run, dry_run=True)
    assert (dry.conflicts, dry.left, dry.rows) == (2, 100, 0)
    assert contents(filled) == after
    undo_fixes(Target(filled.dsn), run, force=True)
    now = contents(filled)
    assert len(now["part"]) == len(before["part"]) - 1
    assert set(now["part"]) < set(before["part"])
    assert {name: rows for name, rows in now.items() if name != "part"} == {
        name: rows for name, rows in before.items() if name != "part"
    }
    assert undo_fixes(Target(filled.dsn), run).left == 0


def test_fixes_of_what_is_gone(filled: Database) -> None:
    """Where a column or a table is dropped since, there is nothing left to be put back."""
    quietly(filled, WRONG_ROWS)
    run = fixed(filled).verdict.run
    filled.execute('ALTER TABLE part DROP COLUMN state; DROP TABLE event; ALTER TABLE "Item" DROP COLUMN doubled')
    undone = undo_fixes(Target(filled.dsn), run)
    assert undone.rows == 50
    assert undo_fixes(Target(filled.dsn), run).left == 0
    with pytest.raises(UsageError, match="did you mean"):
        undo_fixes(Target(filled.dsn), run[:-1])


def test_what_is_not_safe_is_not_done(filled: Database) -> None:
    """Triggers that write elsewhere, tables without a key, values that a constraint refuses: each is said, the rest is
    fixed."""
    quietly(filled, WRONG_ROWS)
    filled.execute(
        """CREATE TABLE audit (what text);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO public.audit VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
        CREATE TRIGGER note AFTER UPDATE ON "Item" FOR EACH ROW EXECUTE FUNCTION note();
        ALTER TABLE event ADD CHECK (id <> 70 OR kind LIKE 'unseen%');
        UPDATE bare SET state = 'bad' WHERE id < 3"""
    )
    of = spec(audit="shared = true")
    before = contents(filled)
    outcome = fixed(filled, of, patience=0.5)
    told = {one.name: one for one in outcome.corrections}
    assert outcome.verdict.exit_status is ExitStatus.FINDINGS
    assert (told["negative"].fixed, told["negative"].left) == (0, 50)
    assert "the trigger note on" in told["negative"].refusals[0]
    assert (told["bare"].fixed, "no primary key" in told["bare"].refusals[0]) == (0, True)
    assert (told["unseen"].fixed, told["unseen"].left) == (27, 1)
    assert "violates check" in told["unseen"].refusals[0]
    assert told["state"].fixed == 22
    assert contents(filled)["Item"] == before["Item"]
    assert filled.rows("SELECT count(*) FROM audit") == [(0,)]
    forced = {one.name: one for one in fixed(filled, of, force=True, patience=0.5).corrections}
    assert (forced["negative"].fixed, forced["negative"].left) == (50, 0)
    assert filled.rows("SELECT count(*) FROM audit") == [(50,)]


def test_fix_that_does_not_help(filled: Database) -> None:
    """A fix after which the row still breaks its rule is not made, and nothing goes round in circles."""
    rule = '[[rule]]\nname = "{}"\ntable = "part"\nviolates = "t.line > 0"\nfix = "line2 = {}"\n'
    filled.load("ALTER TABLE part ADD COLUMN line2 int NOT NULL DEFAULT 0")
    before = contents(filled)
    outcome = fixed(filled, spec(rules=rule.format("less", "t.line2 - 1") + rule.format("same", "t.line2")), patience=1)
    assert {one.name: (one.fixed, one.left) for one in outcome.corrections} == {"less": (0, 200), "same": (0, 200)}
    assert all("violates the rule after the fix" in one.refusals[0] for one in outcome.corrections)
    assert contents(filled) == before
    assert list_fixes(Target(filled.dsn)) == ()


def test_rows_without_a_tenant_before_the_backfill(template: Callable[..., Database]) -> None:
    """What the backfill has yet to do is not a fix."""
    database = template("repairing expand", built(Phase.EXPAND))
    before = contents(database)
    outcome = fixed(database)
    assert outcome.corrections == ()
    assert contents(database) == before


def test_paths_that_disagree_are_left_alone(filled: Database) -> None:
    """A row whose paths lead to two tenants has no safe fix: it stays as it is, and a finding; the others are fixed."""
    both = spec(lost='paths = [["item_id"], ["shop_id"]]\norphans = "quarantine"')
    filled.load("ALTER TABLE lost ADD COLUMN shop_id int REFERENCES shop; UPDATE lost SET shop_id = 1")
    quietly(filled, "UPDATE lost SET tenant_id = NULL")
    outcome = fixed(filled, both)
    assert outcome.verdict.exit_status is ExitStatus.FINDINGS
    assert {one.name: (one.fixed, one.left) for one in outcome.corrections} == {"tenant-from-paths": (10, 0)}
    assert filled.rows("SELECT DISTINCT id % 2, tenant_id IS NULL FROM lost ORDER BY 1") == [(0, False), (1, True)]


def test_fixes_outlive_a_rollback(isolated: Database) -> None:
    """A fix changes the user's rows for good: a rollback of the migration keeps it, and it can be taken back after."""
    quietly(isolated, WRONG_ROWS)
    before = isolated.rows('SELECT id, qty, "Code", updated_at FROM "Item" ORDER BY id')
    outcome = fixed(isolated)
    rollback(Target(isolated.dsn), RollbackOptions(backup=BackupKind.NONE))
    assert isolated.rows("SELECT to_regclass('tenantry.fixed_rows') IS NOT NULL") == [(True,)]
    assert isolated.rows('SELECT count(*) FROM "Item" WHERE qty < 0') == [(0,)]
    undo_fixes(Target(isolated.dsn), outcome.verdict.run)
    assert isolated.rows('SELECT id, qty, "Code", updated_at FROM "Item" ORDER BY id') == before


def test_a_backup_first(filled: Database) -> None:
    """Of the tables that may change, each time, unless there is nothing to change or none is wanted; a restore
    makes them what they were."""
    quietly(filled, WRONG_ROWS)
    before = contents(filled)
    target = Target(filled.dsn)
    with pytest.raises(Refused, match="more than the"):
        fixed(filled, backup=BackupOptions(max_size=1))
    assert contents(filled) == before
    outcome = fixed(filled)
    (made,) = [one.backup for one in list_backups(target)]
    assert made.id.startswith("fix_")
    # What derives from an item may follow it.
    assert {copy.table.name for copy in made.tables} == {"Item", "event", "lost", "part"}
    undo_fixes(target, outcome.verdict.run)
    assert [one.backup.id.split("_")[0] for one in list_backups(target)] == ["fix", "fix"]
    fixed(filled, backup=BackupOptions(kind=BackupKind.NONE))
    assert len(list_backups(target)) == 2
    assert contents(filled) != before
    restore(target, made.id, RestoreOptions(force=True))
    assert contents(filled) == before
    fixed(filled)
    fixed(filled)
    assert [one.backup.id.split("_")[0] for one in list_backups(target)] == ["fix", "restore", "fix", "fix"]
