"""A small business whose rows can go wrong in every way that has a safe fix."""

from __future__ import annotations

from typing import Any

from servers import Database
from tenantry import InspectionOptions, MigrateOptions, Observer, migrate
from tenantry.checks.families import VERIFICATION
from tenantry.commands.fixes import Fixed, FixOptions, fix_issues
from tenantry.commands.verify import NEXT, verify
from tenantry.model.backup import BackupKind
from tenantry.model.finding import Severity
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

ONE, TWO = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
SCHEMA = f"""
CREATE TABLE tenants (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text NOT NULL UNIQUE, name text);
INSERT INTO tenants VALUES ('{ONE}', 'one', 'One'), ('{TWO}', 'two', 'Two');
CREATE TABLE shop (id int PRIMARY KEY, org uuid NOT NULL REFERENCES tenants);
CREATE TABLE "Item" (id int PRIMARY KEY, shop_id int REFERENCES shop, "Code" text NOT NULL,
  qty numeric(12,3) NOT NULL, doubled numeric GENERATED ALWAYS AS (qty * 2) STORED,
  notes json, payload bytea, price float8, moment interval, updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  number int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE part (item_id int NOT NULL REFERENCES "Item" ON DELETE CASCADE, line int, state char(8),
  PRIMARY KEY (item_id, line));
CREATE TABLE event (id int, at date, item_id int REFERENCES "Item", kind text, PRIMARY KEY (id, at))
  PARTITION BY RANGE (at);
CREATE TABLE event_old PARTITION OF event FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
CREATE TABLE event_new PARTITION OF event DEFAULT;
CREATE TABLE lost (id int PRIMARY KEY, item_id int REFERENCES "Item", what text);
CREATE TABLE brand (code text PRIMARY KEY, label text NOT NULL UNIQUE);
CREATE TABLE model (id int PRIMARY KEY, brand text UNIQUE REFERENCES brand (label) ON UPDATE CASCADE);
CREATE TABLE variant (id int PRIMARY KEY, brand text REFERENCES model (brand) ON UPDATE CASCADE);
CREATE TABLE bare (id int, state text);
INSERT INTO shop SELECT n, CASE WHEN n % 2 = 0 THEN '{ONE}'::uuid ELSE '{TWO}' END FROM generate_series(1, 4) n;
INSERT INTO "Item" (id, shop_id, "Code", qty, notes, payload, price, moment, updated_at)
  SELECT n, 1 + n % 4, 'c' || n, n + 0.125, '{{"b":  1,   "a": [1,2]}}', decode('00ff5c', 'hex'), n / 3.0,
    n * interval '1 month 2.5 seconds', '2025-01-01' FROM generate_series(1, 200) n;
INSERT INTO part SELECT n, 1, 'open' FROM generate_series(1, 200) n;
INSERT INTO event SELECT n, date '2024-01-01' + n * 5, n, 'seen' FROM generate_series(1, 200) n;
INSERT INTO lost SELECT n, n, 'thing' FROM generate_series(1, 20) n;
INSERT INTO brand SELECT n, 'label' || n FROM generate_series(1, 20) n;
INSERT INTO model SELECT n, 'label' || n FROM generate_series(1, 20) n;
INSERT INTO variant SELECT n, 'label' || n FROM generate_series(1, 20) n;
INSERT INTO bare SELECT n, 'open' FROM generate_series(1, 5) n;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := clock_timestamp();
  RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE UPDATE ON "Item" FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE "Item" ENABLE ALWAYS TRIGGER touch;
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.kind := NEW.kind || '!';
  RETURN NEW;
END $$;
CREATE TRIGGER shout BEFORE UPDATE ON event FOR EACH ROW EXECUTE FUNCTION shout();
"""
TABLES = {
    '"Item"': 'paths = [["shop_id"]]\norphans = "default"',
    "shop": 'paths = [["org"]]\ncolumn = "org"',
    "part": 'paths = [["item_id"]]',
    "event": 'paths = [["item_id"]]',
    "lost": 'paths = [["item_id"]]\norphans = "quarantine"',
    "brand": "shared = true",
    "model": "shared = true",
    "variant": "shared = true",
    "bare": "shared = true",
}
RULES = """
[[rule]]
name     = "negative"
table    = '"Item"'
violates = "qty < 0"
fix      = '''qty = 0, "Code" = "Code" || '?' '''

[[rule]]
name     = "unseen"
table    = "event"
violates = "kind LIKE 'unseen%'"
fix      = "kind = 'seen'"

[[rule]]
name     = "state"
table    = "part"
violates = "state = 'bad'"
fix      = "state = 'open'"

[[rule]]
name     = "upper"
table    = "brand"
violates = "label <> lower(label)"
fix      = "label = lower(label)"

[[rule]]
name     = "bare"
table    = "bare"
violates = "state <> 'open'"
fix      = "state = 'open'"
"""
WRONG_TENANTS = f"""
UPDATE "Item" SET tenant_id = CASE WHEN tenant_id = '{ONE}' THEN '{TWO}'::uuid ELSE '{ONE}' END WHERE id % 10 = 0;
UPDATE "Item" SET tenant_id = NULL WHERE id % 10 = 5;
UPDATE "Item" SET shop_id = NULL, tenant_id = NULL WHERE id = 7;
UPDATE part SET tenant_id = '{TWO}' WHERE item_id <= 20;
UPDATE event SET tenant_id = NULL WHERE id % 3 = 0;
UPDATE lost SET item_id = NULL, tenant_id = NULL WHERE id = 3;
"""
WRONG_ROWS = """
UPDATE "Item" SET qty = -qty WHERE id % 4 = 0;
UPDATE event SET kind = 'unseen' || id WHERE id % 7 = 0;
UPDATE part SET state = 'bad' WHERE item_id % 9 = 0;
"""


QUIET = """
SET session_replication_role = replica;
DO $$ DECLARE found record; BEGIN
  CREATE TEMPORARY TABLE always AS SELECT tgrelid::regclass AS name, tgname FROM pg_trigger WHERE tgenabled = 'A';
  FOR found IN SELECT * FROM always LOOP
    EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', found.name, found.tgname);
  END LOOP;
END $$;
"""
LOUD = """
DO $$ DECLARE found record; BEGIN
  FOR found IN SELECT * FROM always LOOP
    EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', found.name, found.tgname);
  END LOOP;
END $$;
"""


def quietly(database: Database, statements: str) -> None:
    """Run statements past every trigger and foreign key."""
    database.load(f"{QUIET}{statements};{LOUD}")


def spec(role: str = "repairing_app", rules: str = RULES, **tables: str) -> Spec:
    """The spec; `tables` in place of some of TABLES."""
    parts = "".join(f"[[table]]\nname = '{name}'\n{text}\n" for name, text in ({**TABLES, **tables}).items())
    return Spec.parse(f'[tenant]\ntable = "tenants"\ndefault = "one"\n[application]\nrole = "{role}"\n{parts}{rules}')


def built(until: Phase) -> Any:
    """Builds the business, migrated until a phase."""

    def build(database: Database) -> None:
        database.load(SCHEMA)
        migrate(
            Target(database.dsn), spec(), MigrateOptions(until=until, force=True, workers=1, backup=BackupKind.NONE)
        )

    return build


def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every value as the server writes it."""
    names = ("Item", "shop", "part", "event", "lost", "brand", "model", "variant", "bare")
    return {name: database.rows(f'SELECT t::text FROM "{name}" AS t ORDER BY t::text COLLATE "C"') for name in names}


def fixed(
    database: Database, of: Spec | None = None, dsn: str = "", observer: Observer | None = None, **options: Any
) -> Fixed:
    """What --fix-issues comes to."""
    return fix_issues(
        Target(dsn or database.dsn), of or spec(), VERIFICATION, InspectionOptions(), FixOptions(**options), observer,
        command="verify", next_step=NEXT,
    )  # fmt: skip


def counts_by_check(database: Database, of: Spec | None = None) -> dict[str, int | None]:
    """What verify finds, by check and table."""
    verdict = verify(Target(database.dsn), of or spec())
    return {
        f"{finding.name} {finding.table}": finding.count
        for finding in verdict.findings
        if finding.severity is not Severity.INFO
    }
