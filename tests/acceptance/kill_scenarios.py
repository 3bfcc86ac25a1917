"""The databases that are killed: both presets, and two small ones for the kinds of steps that the presets lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from acceptance import depot, partitioned
from servers import Database
from tenantry.presets import PRESETS, load, spec_path

BAZAAR = """
CREATE TABLE branches (id integer PRIMARY KEY, city text NOT NULL);
CREATE TABLE offices (id integer PRIMARY KEY, street text);
CREATE SCHEMA market;
CREATE TABLE market.articles (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE sales (
  id integer, day date, branch_id integer NOT NULL REFERENCES branches,
  article_id integer NOT NULL REFERENCES market.articles, note text, PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);
CREATE TABLE sales_2024 PARTITION OF sales FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE sales_later PARTITION OF sales DEFAULT;
CREATE VIEW sales_by_branch WITH (security_barrier = true) AS SELECT branch_id, count(*) FROM sales GROUP BY 1;
INSERT INTO branches SELECT n, 'city ' || n FROM generate_series(1, 9) n;
INSERT INTO offices SELECT n, 'street ' || n FROM generate_series(1, 9) n;
INSERT INTO market.articles SELECT n, 'article ' || n FROM generate_series(1, 5) n;
INSERT INTO sales SELECT n, date '2024-01-01' + n, 1 + n % 9, 1 + n % 5, repeat('note ', 5)
  FROM generate_series(1, 600) n;
"""
BAZAAR_SPEC = """
schemas = ["public", "market"]
[tenant]
table = "tenants"
create = true
default = "main"
[application]
role = "{role}"
[[table]]
name = "market.articles"
shared = true
[[table]]
name = "offices"
assign = {{ tenant = "north" }}
[[table]]
name = "branches"
assign = {{ csv = "branches.csv" }}
[[table]]
name = "sales"
paths = [["branch_id"]]
"""
BRANCHES = "id,tenant\n" + "".join(f"{number},{('north', 'main')[number % 2]}\n" for number in range(1, 10))

HARBOUR = """
CREATE TABLE companies (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text NOT NULL UNIQUE, name text NOT NULL);
CREATE TABLE managers (id integer PRIMARY KEY, tenant_id uuid NOT NULL REFERENCES companies);
CREATE TABLE docks (
  id integer PRIMARY KEY, manager_id integer NOT NULL REFERENCES managers, tenant_id uuid REFERENCES companies,
  code text UNIQUE
);
CREATE TABLE notices (id integer PRIMARY KEY, dock_id integer REFERENCES docks, code text UNIQUE);
CREATE TABLE readings (
  id integer PRIMARY KEY, dock_id integer NOT NULL REFERENCES docks, notice_id integer REFERENCES notices,
  at timestamptz NOT NULL DEFAULT '2025-01-01'
);
CREATE TABLE parcels (id integer PRIMARY KEY, dock_id integer REFERENCES docks, weight numeric);
INSERT INTO companies (slug, name) VALUES ('blue', 'Blue'), ('red', 'Red');
INSERT INTO managers SELECT n, (SELECT id FROM companies ORDER BY slug OFFSET n % 2 LIMIT 1)
  FROM generate_series(1, 6) n;
INSERT INTO docks SELECT n, m.id, CASE WHEN n % 3 = 0 THEN m.tenant_id END, 'dock ' || n
  FROM generate_series(1, 600) n JOIN managers m ON m.id = 1 + n % 6;
INSERT INTO notices SELECT n, CASE WHEN n % 4 > 0 THEN 1 + n % 600 END, 'notice ' || n FROM generate_series(1, 80) n;
INSERT INTO readings SELECT n, 1 + n % 600, CASE WHEN n % 5 = 0 THEN 4 * (1 + n % 20) END
  FROM generate_series(1, 2000) n;
INSERT INTO parcels SELECT n, CASE WHEN n % 7 > 0 THEN 1 + n % 600 END, n FROM generate_series(1, 200) n;
"""
HARBOUR_SPEC = """
[tenant]
table = "companies"
quarantine = "unknown"
[application]
role = "{role}"
legacy_roles = ["{legacy}"]
api_keys = true
[[table]]
name = "managers"
paths = [["tenant_id"]]
[[table]]
name = "docks"
paths = [["tenant_id"], ["manager_id"]]
unique = ["docks_code_key"]
[[table]]
name = "notices"
paths = [["dock_id"]]
orphans = "shared"
unique = ["notices_code_key"]
[[table]]
name = "readings"
paths = [["dock_id"]]
[[table]]
name = "parcels"
paths = [["dock_id"]]
orphans = "quarantine"
"""

# What the other scenes have none of: a row of two parents, and a function that not everybody may call.
WORKSHOP = """
CREATE TABLE firms (id integer PRIMARY KEY, slug text NOT NULL UNIQUE);
CREATE TABLE benches (id integer PRIMARY KEY, firm_id integer NOT NULL REFERENCES firms);
CREATE TABLE tools (id integer PRIMARY KEY, firm_id integer NOT NULL REFERENCES firms);
CREATE FUNCTION mark() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 7';
REVOKE EXECUTE ON FUNCTION mark() FROM PUBLIC;
CREATE TABLE jobs (
  id integer PRIMARY KEY, bench_id integer NOT NULL REFERENCES benches, tool_id integer NOT NULL REFERENCES tools,
  mark integer DEFAULT mark()
);
INSERT INTO firms VALUES (1, 'north'), (2, 'south');
INSERT INTO benches SELECT n, 1 + n % 2 FROM generate_series(1, 20) n;
INSERT INTO tools SELECT n, 1 + n % 2 FROM generate_series(1, 20) n;
INSERT INTO jobs SELECT n, 1 + n % 20, 1 + n % 20 FROM generate_series(1, 100) n;
"""
WORKSHOP_SPEC = """
[tenant]
table = "firms"
[application]
role = "{role}"
legacy_roles = ["{legacy}"]
[[table]]
name = "benches"
paths = [["firm_id"]]
[[table]]
name = "tools"
paths = [["firm_id"]]
[[table]]
name = "jobs"
paths = [["bench_id"], ["tool_id"]]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """How a database is built, its spec with the application role's name left open, and its tenant table."""

    build: Callable[[Database], None]
    spec: str
    tenant_table: str
    until: str = "contract"

    def write_spec(self, folder: Path, role: str, legacy: str) -> Path:
        """The spec file in `folder`, with what it refers to."""
        (folder / "branches.csv").write_text(BRANCHES)
        path = folder / f"{role}.toml"
        path.write_text(self.spec.format(role=role, legacy=legacy))
        return path


def preset_scene(preset: str, rows: int) -> Scene:
    def build(database: Database) -> None:
        with database.connect() as connection:
            load(connection, preset=preset, rows=rows, seed=1)

    text = spec_path(preset).read_text().replace("{", "{{").replace("}", "}}").replace('"tenantry_app"', '"{role}"')
    return Scene(build=build, spec=text, tenant_table={"estoque": "tenants", "enterprise": "organizations"}[preset])


BIG = 20_000
SCENES = {preset: preset_scene(preset, 1000) for preset in PRESETS} | {
    "middling estoque": preset_scene("estoque", 6_000),
    "big estoque": preset_scene("estoque", BIG),
    "bazaar": Scene(build=lambda database: database.execute(BAZAAR), spec=BAZAAR_SPEC, tenant_table="tenants"),
    "workshop": Scene(build=lambda database: database.execute(WORKSHOP), spec=WORKSHOP_SPEC, tenant_table="firms"),
    "depot": Scene(
        build=lambda database: database.execute(depot.SCHEMA), spec=depot.SPEC, tenant_table="firms", until="distribute"
    ),
    "fleet": Scene(
        build=lambda database: database.execute(partitioned.SCHEMA),
        spec=partitioned.SPEC,
        tenant_table="firms",
        until="distribute",
    ),
    "harbour": Scene(build=lambda database: database.execute(HARBOUR), spec=HARBOUR_SPEC, tenant_table="companies"),
}
SCENES |= {f"{preset} distributed": replace(SCENES[preset], until="distribute") for preset in PRESETS}
