"""What a spec that changes in between once left behind, and what is taken over with it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from acceptance.round_trip import checksums
from conftest import Command
from daily import daily
from servers import Database
from tenantry import MigrateOptions, RollbackOptions, add_tenant, migrate, rollback
from tenantry.errors import ExitStatus, Refused
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

SHOP = """
CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE NOT NULL);
INSERT INTO tenants VALUES (1, 'a'), (2, 'b');
CREATE TABLE places (id int PRIMARY KEY, tenant_id int REFERENCES tenants);
INSERT INTO places VALUES (1, 1), (2, 2), (3, NULL);
CREATE TABLE lots (id int PRIMARY KEY, tenant_id int REFERENCES tenants, place_id int REFERENCES places);
INSERT INTO lots VALUES (10, 1, 1), (11, 2, 2), (12, NULL, 2);
CREATE TABLE lines (id int PRIMARY KEY, lot_id int NOT NULL REFERENCES lots);
INSERT INTO lines VALUES (100, 10);
CREATE TABLE notes (id int PRIMARY KEY, said text);
INSERT INTO notes VALUES (1000, 'x');
"""
MIXED = """
version = 1
[tenant]
table = "tenants"
[application]
role = "{role}"
[[table]]
name = "places"
paths = [["tenant_id"]]
orphans = "shared"
[[table]]
name = "lots"
paths = {paths}
orphans = "shared"
[[table]]
name = "notes"
{notes}
[[table]]
name = "lines"
{lines}
"""


@pytest.fixture
def shop(template: Callable[..., Database]) -> Database:
    return template("changes shop", lambda database: database.execute(SHOP))


@pytest.fixture
def mixed(role: Callable[..., str]) -> Callable[..., Spec]:
    """A spec in which lots find their tenant by these paths, and lines by these words."""
    name = role(create=False, name="app")

    def make(
        paths: str = '[["tenant_id"], ["place_id"]]', *, lines: str = 'paths = [["lot_id"]]',
        notes: str = "shared = true",
    ) -> Spec:  # fmt: skip
        return Spec.parse(MIXED.format(role=name, paths=paths, lines=lines, notes=notes))

    return make


def followed(database: Database, spec: Spec, until: Phase = Phase.ISOLATE, **options: bool) -> None:
    migrate(Target(database.dsn), spec, MigrateOptions(until=until, backup=BackupKind.NONE, **options))


@pytest.mark.server
def test_refused_put_right_and_back(shop: Database, mixed: Callable[..., Spec]) -> None:
    """A run stopped at a row that the first spec forgets; the second spec remembers it. What it filled of the user's
    own column goes back after the triggers that would refuse the NULL, whichever was made first."""
    dump, rows = shop.dump(), checksums(shop)
    with pytest.raises(Refused):
        followed(shop, mixed('[["tenant_id"]]'))
    followed(shop, mixed())
    assert shop.rows("SELECT tenant_id FROM lots WHERE id = 12") == [(2,)]
    assert rollback(Target(shop.dsn), RollbackOptions()).exit_status is ExitStatus.DONE
    assert (shop.dump(), checksums(shop)) == (dump, rows)


@pytest.mark.server
def test_the_users_own_column(shop: Database, mixed: Callable[..., Spec]) -> None:
    """NULLs of it that a path has filled are put back where the spec has that path no more; another path in its place
    is refused, for nothing tells the rows that it filled."""
    followed(shop, mixed())
    assert shop.rows("SELECT tenant_id FROM lots WHERE id = 12") == [(2,)]
    shop.execute("ALTER TABLE lots ADD other_id int REFERENCES places; UPDATE lots SET other_id = place_id")
    with pytest.raises(Refused, match="which of them were assigned by the earlier spec is no longer known"):
        followed(shop, mixed('[["tenant_id"], ["other_id"]]'))
    shop.execute("UPDATE lots SET place_id = NULL, other_id = NULL WHERE id = 12")
    followed(shop, mixed('[["tenant_id"]]'))
    assert shop.rows("SELECT tenant_id FROM lots WHERE id = 12") == [(None,)]


def test_a_run_that_would_stop_too_early(shop: Database, mixed: Callable[..., Spec]) -> None:
    """Half of one spec and half of another is nothing that anybody asked for."""
    followed(shop, mixed())
    there = shop.dump()
    spec = mixed()
    tenant = spec.tenant.model_copy(update={"setting": "app.other"})
    other = spec.model_copy(update={"tenant": tenant})
    with pytest.raises(Refused, match="the phase isolate is applied") as caught:
        followed(shop, other, Phase.ENFORCE)
    assert "--until isolate" in caught.value.remedy
    assert shop.dump() == there
    followed(shop, other)


def test_values_go_only_when_told(
    shop: Database, mixed: Callable[..., Spec], command: Callable[[str], Command], role: Callable[..., str]
) -> None:
    """A table that is owned no more: exit 4 counts the rows and names the backup; the dry run shows what goes."""
    tenantry, spec = command(shop.dsn), tenantry_spec(role)
    tenantry.folder.joinpath("tenantry.toml").write_text(spec)
    assert tenantry("migrate", "--until", "enforce").status == 0
    there = shop.dump()
    tenantry.folder.joinpath("tenantry.toml").write_text(spec.replace('paths = [["lot_id"]]', "shared = true"))
    dry = tenantry("migrate", "--dry-run", "--json")
    assert dry.status == 4
    going = [one["key"] for one in dry.json["reverts"]]
    assert going[-1] == "column:public.lines:tenant_id"
    assert [one["last"] for one in dry.json["reverts"]] == sorted(one["last"] for one in dry.json["reverts"])
    assert dry.json["refusal"]["exit_status"] == 4
    planned = tenantry("plan", "--format", "sql").stdout
    assert planned.index("DROP TRIGGER") < planned.index("-- ==== isolate") < planned.index("DROP COLUMN")
    refused = tenantry("migrate")
    assert refused.status == 4
    assert "the tenants of 1 row would be dropped" in refused.stderr
    assert "backup" in refused.stderr
    assert "--force" in refused.stderr
    assert shop.dump() == there
    found = tenantry("validate", "--json")
    assert found.status == 1
    assert "orphaned" in {one["name"] for one in found.json["findings"]}
    assert "column:public.lines:tenant_id" in tenantry("status", "--json").json["orphaned"]
    done = tenantry("migrate", "--force")
    assert done.status == 0, done.stderr
    assert shop.rows("SELECT * FROM lines") == [(100, 10)]
    backups = tenantry("backups", "list", "--json").json["backups"]
    assert "public.lines" in set(backups[-1]["tables"])
    assert tenantry("status", "--json").json["orphaned"] == []


def tenantry_spec(role: Callable[..., str]) -> str:
    return MIXED.format(
        role=role(create=False, name="app"),
        paths='[["tenant_id"], ["place_id"]]',
        lines='paths = [["lot_id"]]',
        notes="shared = true",
    )


def test_built_upon_what_goes(shop: Database, mixed: Callable[..., Spec]) -> None:
    """A view of somebody's on the column that goes: refused before anything is changed, --force or not."""
    followed(shop, mixed())
    shop.execute("CREATE VIEW theirs AS SELECT tenant_id FROM lines")
    there = shop.dump()
    with pytest.raises(Refused, match="rollback would drop what other objects depend on") as caught:
        followed(shop, mixed(lines="shared = true"), force=True)
    assert "view public.theirs" in caught.value.message
    assert shop.dump() == there
    shop.execute("DROP VIEW theirs")
    followed(shop, mixed(lines="shared = true"), force=True)


def test_renamed_column_is_refused(shop: Database, mixed: Callable[..., Spec]) -> None:
    """Another name for the tenant column would lose the values: not even --force goes on, and rollback is named."""
    followed(shop, mixed(), Phase.BACKFILL)
    there = (shop.dump(), checksums(shop))
    with pytest.raises(Refused) as caught:
        followed(shop, mixed(lines='paths = [["lot_id"]]\ncolumn = "org"'), force=True)
    assert "rollback --confirm" in caught.value.remedy
    assert (shop.dump(), checksums(shop)) == there


def test_dropped_table_takes_its_steps_along(shop: Database, mixed: Callable[..., Spec]) -> None:
    """A table that its owner has dropped since is no reason to refuse, and nothing of it is left to roll back."""
    dump = shop.dump()
    followed(shop, mixed())
    shop.execute("DROP TABLE lines")
    spec = mixed()
    followed(shop, spec.model_copy(update={"table": [table for table in spec.table if table.name != "lines"]}))
    assert shop.rows("SELECT key FROM tenantry.steps WHERE key LIKE '%lines%'") == []
    rollback(Target(shop.dsn), RollbackOptions())
    shop.execute("CREATE TABLE lines (id int PRIMARY KEY, lot_id int NOT NULL REFERENCES lots)")
    assert shop.dump() == dump


def test_killed_fill_of_another_spec(shop: Database, mixed: Callable[..., Spec]) -> None:
    """A fill from other sources that died half-way still sets right what the earlier sources said."""
    by_text = "assign = { sql = \"CASE WHEN notes.id < 0 THEN 'a' ELSE '%s' END\" }"
    followed(shop, mixed(notes=by_text % "a"), Phase.BACKFILL)
    spec = mixed(notes=by_text % "b")
    # As a run leaves it that was killed in the fill: begun, and nothing filled.
    followed(shop, spec, Phase.BACKFILL)
    shop.execute(
        "UPDATE notes SET tenant_id = 1; UPDATE tenantry.steps SET state = 'running' WHERE key LIKE 'backfill_fill%'"
    )
    followed(shop, spec, Phase.BACKFILL)
    assert shop.rows("SELECT tenant_id FROM notes") == [(2,)]


def test_slug_that_a_trigger_changes(shop: Database, mixed: Callable[..., Spec]) -> None:
    """A tenant whose slug the table's own trigger writes otherwise is there, and told as it is."""
    shop.execute(
        "CREATE FUNCTION low() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN NEW.slug := lower(NEW.slug); RETURN NEW; END$$;"
        "CREATE TRIGGER low BEFORE INSERT OR UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION low();"
        "CREATE SEQUENCE ids START 7; ALTER TABLE tenants ALTER id SET DEFAULT nextval('ids')"
    )
    made = add_tenant(Target(shop.dsn), mixed(), "North")
    assert made.tenant is not None
    assert (made.tenant.slug, made.tenant.key) == ("north", "7")
    named = mixed(notes='assign = { tenant = "West" }')
    with pytest.raises(Refused, match="changes the slug"):
        followed(shop, named, Phase.EXPAND)
    assert shop.rows("SELECT count(*) FROM tenants") == [(3,)]


WALK = """
CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE NOT NULL, name text NOT NULL);
INSERT INTO tenants VALUES (1, 'a', 'A'), (2, 'b', 'B');
CREATE TABLE stores (id int PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, nome text UNIQUE);
CREATE TABLE a (id int PRIMARY KEY, store_id int NOT NULL REFERENCES stores, nome text UNIQUE);
CREATE TABLE b (id int PRIMARY KEY, a_id int NOT NULL REFERENCES a);
INSERT INTO stores VALUES (10, 1, 'x'), (20, 2, 'y');
INSERT INTO a SELECT i, 10 * (1 + i % 2), 'n' || i FROM generate_series(1, 30) i;
INSERT INTO b SELECT i, 1 + i % 30 FROM generate_series(1, 90) i;
"""
WALKED = """
version = 1
[tenant]
table = "tenants"
[application]
role = "{role}"
[[table]]
name = "stores"
paths = [["tenant_id"]]
[[table]]
name = "a"
paths = [["store_id"]]
unique = ["a_nome_key"]
[[table]]
name = "b"
paths = [["a_id"]]
"""
STEPS = {
    "the column renamed": ('table = "tenants"', 'table = "tenants"\ncolumn = "org_id"', 4),
    "a table shared": ('paths = [["a_id"]]', "shared = true", 4),
    "a table left out": ('[[table]]\nname = "b"\npaths = [["a_id"]]\n', "", 4),
    "another setting": ('table = "tenants"', 'table = "tenants"\nsetting = "app.other"', 0),
    "the first setting again": ("", "", 0),
    "a file beyond the folder": ('paths = [["a_id"]]', 'assign = { csv = "../../../etc/passwd" }', 2),
    "an expression that ends itself": (
        'paths = [["a_id"]]', "assign = { sql = \"'a') FROM b; DROP TABLE b; SELECT ('a'\" }", 2,
    ),
}  # fmt: skip


@pytest.mark.server
def test_one_spec_after_the_other(
    database: Database, command: Callable[[str], Command], role: Callable[..., str]
) -> None:
    """A person's walk through specs, by the command: each either is followed, and validated, or refused by the run and
    its dry run alike, and nothing has changed; then all of it goes back."""
    database.execute(WALK)
    dump, rows = database.dump(), checksums(database)
    tenantry, text = command(database.dsn), WALKED.format(role=role(create=False, name="app"))
    spec = tenantry.folder / "tenantry.toml"
    spec.write_text(text)
    assert tenantry("migrate", "--until", "enforce", "--backup", "none").status == 0
    for what, (old, new, status) in STEPS.items():
        there = (database.dump(), checksums(database))
        spec.write_text(text.replace(old, new) if old else text)
        until = ("--until", "contract", "--backup", "none")
        assert tenantry("migrate", *until, "--dry-run").status == status, what
        if status == 0:
            assert tenantry("validate").status == 1, what
        done = tenantry("migrate", *until)
        assert done.status == status, (what, done.stderr)
        if status == 0:
            assert tenantry("validate").status == 0, what
            setting = "app.other" if "app.other" in new else "app.tenant_id"
            policies = database.rows("SELECT DISTINCT pg_get_expr(polqual, polrelid) FROM pg_policy")
            assert all(f"'{setting}'" in condition for (condition,) in policies), what
        else:
            assert (database.dump(), checksums(database)) == there, what
    assert tenantry("rollback", "--confirm", "--backup", "none").status == 0
    assert (database.dump(), checksums(database)) == (dump, rows)


RENAMES = {
    "a parent": "ALTER TABLE lots RENAME TO batches",
    "a leaf": "ALTER TABLE lines RENAME TO rows",
    "two that change their names": "ALTER TABLE lots RENAME TO held; ALTER TABLE places RENAME TO lots;"
    " ALTER TABLE held RENAME TO places",
    "a schema": 'CREATE SCHEMA "the new"; ALTER TABLE lots SET SCHEMA "the new"',
}
NAMES = {
    "a parent": {"lots": "batches"},
    "a leaf": {"lines": "rows"},
    "two that change their names": {"lots": "places", "places": "lots"},
    "a schema": {"lots": '"the new".lots'},
}


@pytest.mark.server
@pytest.mark.parametrize("until", daily([Phase.CONTRACT, Phase.BACKFILL, Phase.ISOLATE]))
@pytest.mark.parametrize("what", daily(RENAMES, 2))
def test_renamed_table_takes_its_steps_along(
    what: str, until: Phase, shop: Database, mixed: Callable[..., Spec], new_database: Callable[..., Database]
) -> None:
    """A table is known by its oid: what it has stays, and is what a fresh migration would make; and all goes back."""
    first = mixed()
    parts = {table.name: table for table in first.table}
    second = first.model_copy(
        update={
            "schemas": ("public", "the new") if what == "a schema" else first.schemas,
            "table": tuple(
                part.model_copy(update={"name": NAMES[what].get(name, name)}) for name, part in parts.items()
            ),
        }
    )
    fresh = new_database()
    fresh.execute(SHOP)
    fresh.execute(RENAMES[what])
    dump = fresh.dump()
    followed(fresh, second, until)
    followed(shop, first, until)
    shop.execute(RENAMES[what])
    rows = checksums(shop)
    followed(shop, second, until)
    # PostgreSQL 18 calls a NOT NULL after its table, and keeps that name.
    named = re.compile(r" CONSTRAINT \w+_not_null NOT NULL")
    assert named.sub(" NOT NULL", shop.dump()) == named.sub(" NOT NULL", fresh.dump())
    assert checksums(shop) == rows == checksums(fresh)
    migrated = migrate(Target(shop.dsn), second, MigrateOptions(until=until))
    assert migrated.applied == 0
    functions = "SELECT proname FROM pg_proc WHERE pronamespace = 'tenantry'::regnamespace ORDER BY 1"
    assert shop.rows(functions) == fresh.rows(functions)
    result = rollback(Target(shop.dsn), RollbackOptions())
    assert shop.dump() == dump
    assert shop.rows(functions) == []
    assert result.exit_status in (ExitStatus.DONE, ExitStatus.FINDINGS)
