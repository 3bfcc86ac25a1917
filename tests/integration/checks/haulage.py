"""A small haulage business with every way to a tenant, and what validate says of it once somebody has been at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from servers import Database
from tenantry import InspectionOptions, MigrateOptions, inspect, migrate
from tenantry.checks.completeness import completeness
from tenantry.checks.references import references
from tenantry.checks.structure import structure
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.postgres.connect import Target

ROLE = "fleet_app"
FAMILIES = (
    (Family.STRUCTURE, structure),
    (Family.COMPLETENESS, completeness),
    (Family.REFERENCES, references),
)
SCHEMA = """
CREATE TABLE firms (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text NOT NULL UNIQUE, name text NOT NULL);
INSERT INTO firms VALUES ('00000000-0000-0000-0000-00000000000a', 'ant', 'Ant'),
  ('00000000-0000-0000-0000-00000000000b', 'bee', 'Bee'), ('00000000-0000-0000-0000-00000000000c', 'cow', 'Cow');
CREATE TABLE depots (id int PRIMARY KEY, firm uuid NOT NULL REFERENCES firms, above int REFERENCES depots);
CREATE TABLE plates (plate text PRIMARY KEY, depot int NOT NULL REFERENCES depots);
CREATE TABLE "Pit ""Stop" ("From" int PRIMARY KEY, depot int NOT NULL REFERENCES depots);
CREATE TABLE trucks (id serial PRIMARY KEY, depot int NOT NULL REFERENCES depots, code text NOT NULL UNIQUE, plate text);
CREATE TABLE drivers (id int PRIMARY KEY, plate text NOT NULL REFERENCES plates);
CREATE TABLE tariffs (id int PRIMARY KEY, depot int NOT NULL REFERENCES depots, code text NOT NULL);
CREATE TABLE trips (id bigint, at date NOT NULL, truck int NOT NULL REFERENCES trucks, depot int REFERENCES depots,
  tariff text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE trips_2025 PARTITION OF trips FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE trips_rest PARTITION OF trips DEFAULT;
CREATE TABLE notes (id int PRIMARY KEY, truck_code text, text text);
CREATE TABLE notices (id int PRIMARY KEY, depot int REFERENCES depots, text text);
CREATE TABLE crates (id int PRIMARY KEY, label text);
CREATE TABLE loads (id int PRIMARY KEY, depot int NOT NULL REFERENCES depots, crate int NOT NULL REFERENCES crates);
CREATE TABLE countries (code text PRIMARY KEY);
INSERT INTO depots SELECT n, (SELECT id FROM firms ORDER BY slug OFFSET n % 2 LIMIT 1), NULL FROM generate_series(1, 6) n;
UPDATE depots SET above = id - 2 WHERE id > 2;
INSERT INTO plates SELECT 'p' || n, 1 + n % 6 FROM generate_series(1, 12) n;
INSERT INTO "Pit ""Stop" SELECT n, 1 + n % 6 FROM generate_series(1, 30) n;
INSERT INTO trucks (depot, code, plate) SELECT 1 + n % 6, 'truck ' || n, 'p' || n FROM generate_series(1, 12) n;
INSERT INTO drivers SELECT n, 'p' || n FROM generate_series(1, 12) n;
INSERT INTO tariffs SELECT n, 1 + n % 6, 'day' FROM generate_series(1, 6) n;
INSERT INTO trips SELECT n, date '2025-11-01' + n % 90, t.id, CASE WHEN n % 3 = 0 THEN t.depot END,
  CASE WHEN n % 5 = 0 THEN 'day' END FROM generate_series(1, 600) n JOIN trucks t ON t.id = 1 + n % 12;
INSERT INTO notes SELECT n, 'truck ' || 1 + n % 12, 'text' FROM generate_series(1, 40) n;
INSERT INTO notices SELECT n, CASE WHEN n % 2 = 0 THEN 1 + n % 6 END, 'text' FROM generate_series(1, 10) n;
INSERT INTO crates SELECT n, 'crate ' || n FROM generate_series(1, 20) n;
INSERT INTO loads SELECT n, 1 + n % 6, 1 + (n % 6) FROM generate_series(1, 30) n;
INSERT INTO loads SELECT 100 + n, 1, n FROM generate_series(7, 20) n;
CREATE VIEW depot_trucks AS SELECT d.id, count(*) FROM depots d JOIN trucks t ON t.depot = d.id GROUP BY 1;
"""
SPEC = f"""
[tenant]
table = "firms"
column = "firm"
quarantine = "unknown"
[application]
role = "{ROLE}"
[[table]]
name = "depots"
paths = [["firm"]]
[[table]]
name = "plates"
shared = true
[[table]]
name = '"Pit ""Stop"'
paths = [["depot"]]
[[table]]
name = "trucks"
paths = [["depot"]]
unique = ["trucks_code_key"]
[[table]]
name = "drivers"
paths = [["plate", "depot"]]
[[table]]
name = "tariffs"
paths = [["depot"]]
[[table]]
name = "trips"
paths = [["truck"], ["depot"]]
[[table]]
name = "notes"
paths = [["truck_code"]]
orphans = "quarantine"
[[table]]
name = "notices"
paths = [["depot"]]
orphans = "shared"
[[table]]
name = "crates"
children = ["loads.crate"]
[[table]]
name = "loads"
paths = [["depot"]]
[[table]]
name = "countries"
shared = true
[[reference]]
from = "notes.truck_code"
to = "trucks.code"
[[reference]]
from = "trips.tariff"
to = "tariffs.code"
"""


def build(database: Database) -> None:
    """Migrated until isolate, by one statistic of every table."""
    database.execute(SCHEMA)
    migrate(Target(database.dsn), Spec.parse(SPEC), MigrateOptions(until=Phase.ISOLATE, force=True))
    database.execute("ANALYZE")


@pytest.fixture
def isolated_haulage(template: Callable[..., Database]) -> Database:
    """Migrated until isolate."""
    return template("fleet", build)


@pytest.fixture
def unmigrated(template: Callable[..., Database]) -> Database:
    """As the business made it."""
    return template("fleet before", lambda database: database.execute(SCHEMA))


def validated(database: Database, spec: str = SPEC, *, dsn: str = "", **options: object) -> Verdict:
    """What these families say of the database as it is now."""
    chosen = InspectionOptions(**options)  # type: ignore[arg-type]
    target = Target(dsn or database.dsn)
    return inspect(target, Spec.parse(spec), FAMILIES, chosen, command="validate", next_step="")


def serious(findings: Iterable[Finding]) -> set[tuple[str, str, int | None]]:
    """Name, table and count of what is more than information."""
    return {
        (finding.name, str(finding.table or ""), finding.count)
        for finding in findings
        if finding.severity is not Severity.INFO
    }
