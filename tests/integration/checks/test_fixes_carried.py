"""What a fix changes beyond its own rows, by keys and triggers of ours, comes back with them, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from checks.repairing import quietly
from servers import Database
from tenantry import InspectionOptions, MigrateOptions, migrate
from tenantry.checks.families import VERIFICATION
from tenantry.commands.fixes import Fixed, FixOptions, fix_issues
from tenantry.commands.undo import list_fixes, undo_fixes
from tenantry.commands.verify import NEXT
from tenantry.errors import ExitStatus
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

TABLES = ("depot", "crate", "load", "box", "label", "stamp")
# A crate belongs to whoever has loads of it, and boxes to their crate; labels and stamps hang on keys that cascade.
SCHEMA = """
CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text NOT NULL UNIQUE, name text);
INSERT INTO tenants SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, slug, slug
  FROM (VALUES (1, 'one'), (2, 'two')) AS t (n, slug);
CREATE TABLE depot (id int PRIMARY KEY, org uuid NOT NULL REFERENCES tenants);
CREATE TABLE crate (id int PRIMARY KEY, what text);
CREATE TABLE load (id int PRIMARY KEY, crate int NOT NULL REFERENCES crate, depot int REFERENCES depot, state text);
CREATE TABLE box (id int PRIMARY KEY, crate int NOT NULL REFERENCES crate, touched int NOT NULL DEFAULT 0);
CREATE TABLE label (id int PRIMARY KEY, code text NOT NULL UNIQUE, load int NOT NULL REFERENCES load);
CREATE TABLE stamp (id int PRIMARY KEY, code text REFERENCES label (code) ON UPDATE CASCADE);
INSERT INTO depot SELECT n, ('00000000-0000-0000-0000-00000000000' || n)::uuid FROM generate_series(1, 2) n;
INSERT INTO crate SELECT n, 'crate ' || n FROM generate_series(1, 30) n;
INSERT INTO load SELECT n, 1 + n % 30, 1 + n % 2, 'here' FROM generate_series(1, 60) n;
INSERT INTO box SELECT n, 1 + n % 30 FROM generate_series(1, 60) n;
INSERT INTO label SELECT n, 'label' || n, n FROM generate_series(1, 60) n;
INSERT INTO stamp SELECT n, 'label' || n FROM generate_series(1, 60) n;
"""
SPEC = """
[tenant]
table = "tenants"
default = "one"
[application]
role = "carried_app"
[[table]]
name = "depot"
paths = [["org"]]
[[table]]
name = "crate"
children = ["load.crate"]
[[table]]
name = "load"
paths = [["depot"]]
orphans = "default"
[[table]]
name = "box"
paths = [["crate"]]
[[table]]
name = "label"
paths = [["load"]]
[[table]]
name = "stamp"
paths = [["code"]]
"""
ASTRAY = """
[[rule]]
name     = "astray"
table    = "load"
violates = "t.state = 'astray'"
fix      = "state = 'here', depot = 3 - t.depot"
[[rule]]
name     = "shouting"
table    = "label"
violates = "t.code <> lower(t.code)"
fix      = "code = lower(t.code)"
"""


def built(until: Phase) -> Callable[[Database], None]:
    def build(database: Database) -> None:
        database.load(SCHEMA)
        options = MigrateOptions(until=until, force=True, workers=1, backup=BackupKind.NONE)
        migrate(Target(database.dsn), Spec.parse(SPEC), options)

    return build


def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every value as the server writes it."""
    return {name: database.rows(f'SELECT t::text FROM {name} AS t ORDER BY t::text COLLATE "C"') for name in TABLES}


def fixed(database: Database, **options: Any) -> Fixed:
    return fix_issues(
        Target(database.dsn), Spec.parse(SPEC + ASTRAY), VERIFICATION, InspectionOptions(), FixOptions(**options),
        command="verify", next_step=NEXT,
    )  # fmt: skip


def there_and_back(database: Database, changed: set[str]) -> None:
    """Fix, find nothing wrong, put back: these tables change on the way there, and every value is as it was after."""
    before, dump = contents(database), database.dump()
    outcome = fixed(database, rows=4)
    assert outcome.verdict.exit_status is ExitStatus.DONE, (outcome.corrections, outcome.verdict.findings)
    after = contents(database)
    assert {name for name in TABLES if after[name] != before[name]} == changed
    assert {one.table.name for one in list_fixes(Target(database.dsn))} == changed
    undone = undo_fixes(Target(database.dsn), outcome.verdict.run, rows=3)
    assert undone.conflicts == 0
    assert contents(database) == before
    assert database.dump() == dump


@pytest.mark.server
def test_parents_that_adopt(template: Callable[..., Database]) -> None:
    """A parent without a tenant takes that of a child which the fix gives one; what derives from the parent follows."""
    database = template("carried backfill", built(Phase.BACKFILL))
    quietly(
        database,
        """UPDATE load SET depot = NULL, tenant_id = NULL WHERE crate <= 10;
        UPDATE crate SET tenant_id = NULL WHERE id <= 10; UPDATE box SET tenant_id = NULL WHERE crate <= 10;
        UPDATE label SET tenant_id = NULL WHERE load IN (SELECT id FROM load WHERE crate <= 10);
        UPDATE stamp SET tenant_id = NULL WHERE code IN (SELECT code FROM label WHERE tenant_id IS NULL)""",
    )
    there_and_back(database, {"load", "crate", "box", "label", "stamp"})


@pytest.mark.server
@pytest.mark.parametrize("until", [Phase.BACKFILL, Phase.ISOLATE])
def test_what_follows_a_row_into_another_tenant(template: Callable[..., Database], until: Phase) -> None:
    """A rule's fix leads a row, with its siblings, to another tenant: its parent moves along, and with that what hangs
    on it, by our triggers until the composite keys are there, and by their ON UPDATE CASCADE then."""
    database = template(f"carried {until}", built(until))
    quietly(database, "UPDATE load SET state = 'astray' WHERE crate IN (3, 4, 5)")
    there_and_back(database, {"load", "crate", "box", "label", "stamp"})


def test_keys_that_cascade(template: Callable[..., Database]) -> None:
    """What a key's ON UPDATE CASCADE changes."""
    database = template("carried backfill", built(Phase.BACKFILL))
    quietly(
        database,
        "UPDATE label SET code = upper(code) WHERE load % 5 = 0; UPDATE stamp SET code = upper(code) WHERE id % 5 = 0",
    )
    there_and_back(database, {"label", "stamp"})


@pytest.mark.parametrize(
    ("table", "change"), [("depot", "id = id WHERE depot.id = 2"), ("box", "touched = 7 WHERE box.id = 7")]
)
def test_what_nobody_foresaw(template: Callable[..., Database], table: str, change: str) -> None:
    """A trigger of the user's that changes rows elsewhere, in another table or beside those that follow, though it says
    that it only changes its own: nothing of that is left, and the table is named; --force lets it."""
    database = template("carried backfill", built(Phase.BACKFILL))
    database.execute(
        f"""CREATE FUNCTION besides(state text) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN UPDATE public.{table} SET {change}; RETURN state; END $$;
        CREATE FUNCTION beside() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN NEW.state := public.besides(NEW.state); RETURN NEW; END $$;
        CREATE TRIGGER beside BEFORE UPDATE ON load FOR EACH ROW EXECUTE FUNCTION beside()"""
    )
    quietly(database, "UPDATE load SET state = 'astray' WHERE crate IN (3, 4)")
    before = contents(database)
    outcome = fixed(database, patience=0.5)
    (told,) = outcome.corrections
    assert (told.fixed, told.left) == (0, 4)
    assert f"public.{table}" in told.refusals[0]
    assert contents(database) == before
    forced = fixed(database, force=True)
    assert forced.verdict.exit_status is ExitStatus.DONE, forced.verdict.findings
