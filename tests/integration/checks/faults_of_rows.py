"""Faults of the structure, the tenants and the references."""

from __future__ import annotations

from collections.abc import Mapping

from checks.faults import Fault, fault
from checks.haulage import ROLE

ANT, BEE, NOBODY = (f"00000000-0000-0000-0000-00000000000{letter}" for letter in "abf")
PIT = 'public."Pit ""Stop"'
GUARDED = [PIT, *(f"public.{name}" for name in (
    ["firms", "depots", "trucks", "drivers", "tariffs", "trips", "trips_2025", "trips_rest", "notes", "notices", "crates", "loads"]
))]  # fmt: skip
UNGUARDED = "SET session_replication_role = replica;"
"""Foreign keys do not look, as where somebody has restored a dump carelessly."""

FAULTS: Mapping[str, Fault] = {
    "rows that belong to nobody": fault(
        "members",
        "INSERT INTO products VALUES (4), (5); DELETE FROM links WHERE product_id = 1",
        ("rows-without-member", "public.products", 3),
    ),
    "rows in another tenant": fault(
        "fleet",
        f"""{UNGUARDED} UPDATE "Pit ""Stop" SET firm = '{BEE}' WHERE firm = '{ANT}' AND "From" < 5""",
        ("tenant-differs", PIT, 2),
    ),
    "a tenant that there is not": fault(
        "fleet",
        f"""{UNGUARDED} UPDATE "Pit ""Stop" SET firm = '{NOBODY}' WHERE "From" IN (7, 8, 9)""",
        ("tenant-unknown", PIT, 3),
        inherent={
            ("tenant-differs", PIT, 3): "it is not the tenant that its depot leads to",
            ("tenants-do-not-add-up", PIT, 3): "no tenant sees them",
        },
    ),
    "a partition's rows in another tenant": fault(
        "fleet",
        f"{UNGUARDED} UPDATE trips_2025 SET firm = '{BEE}' WHERE firm = '{ANT}' AND id < 9 AND depot IS NULL",
        ("tenant-differs", "public.trips", 3),
    ),
    "rows that point at nothing": fault(
        "fleet",
        f"{UNGUARDED} UPDATE trips SET depot = 999 WHERE id IN (3, 6)",
        ("dangling-reference", "public.trips", 2),
    ),
    "a reference that only the spec knows": fault(
        "fleet",
        "UPDATE notes SET truck_code = 'nowhere' WHERE id = 5",
        ("dangling-reference", "public.notes", 1),
    ),
    "a code that no tenant has": fault(
        "fleet",
        "UPDATE trips SET tariff = 'night' WHERE id IN (4, 5)",
        ("dangling-reference", "public.trips", 2),
    ),
    "a code that only another tenant has": fault(
        "fleet",
        f"DELETE FROM tariffs WHERE firm = '{ANT}'",
        ("dangling-reference", "public.trips", 60),
        inherent={("largest-share", "public.tariffs", None): "all that are left are the other tenant's"},
    ),
    "along a path through a shared table": fault(
        "fleet",
        "UPDATE plates SET depot = 1 + depot % 6 WHERE plate IN ('p1', 'p2')",
        ("tenant-differs", "public.drivers", 2),
    ),
    "a row that is shared, though its path leads to a tenant": fault(
        "fleet",
        'ALTER TABLE notices DISABLE TRIGGER "~tenantry_assign"; UPDATE notices SET firm = NULL WHERE id = 2;'
        'ALTER TABLE notices ENABLE ALWAYS TRIGGER "~tenantry_assign"',
        ("tenant-differs", "public.notices", 1),
    ),
    "a parent that waits for its first child": fault(
        "fleet",
        "INSERT INTO crates VALUES (99, 'empty'), (98, 'empty')",
        ("rows-without-tenant", "public.crates", 2),
    ),
    "circles": fault(
        "fleet",
        "UPDATE depots SET above = 5 WHERE id = 1; UPDATE depots SET above = 2 WHERE id = 2",
        ("reference-cycle", "public.depots", 2),
    ),
    "a key that was never validated": fault(
        "fleet",
        "ALTER TABLE plates ADD country text; ALTER TABLE plates ADD FOREIGN KEY (country) REFERENCES countries NOT VALID",
        ("foreign-key-not-valid", "public.plates", None),
    ),
    "keys whose triggers are off": fault(
        "fleet",
        "ALTER TABLE drivers DISABLE TRIGGER ALL",
        ("foreign-key-disabled", "public.drivers", 2),
        inherent={("not-in-force", "public.drivers", None): "our own trigger is off, too"},
    ),
    "a key of ours that is not enforced": fault(
        "fleet",
        "ALTER TABLE loads ALTER CONSTRAINT tenantry_loads_depot_fkey NOT ENFORCED",
        ("foreign-key-not-enforced", "public.loads", None),
        inherent={
            ("not-in-force", "public.loads", None): "it is not valid any more, which is a step",
            ("altered", "public.loads", None): "it is not as it was made",
        },
        pg=">= 18",
    ),
    "a trigger of ours that is off on a partition": fault(
        "fleet",
        'ALTER TABLE trips_2025 ENABLE REPLICA TRIGGER "~tenantry_assign"',
        ("trigger-disabled", "public.trips_2025", 1),
    ),
    "sessions in which no key is looked at": fault(
        "fleet",
        f"ALTER ROLE {ROLE} SET session_replication_role = Replica",
        ("triggers-switched-off", "", None),
        after=f"ALTER ROLE {ROLE} RESET session_replication_role",
    ),
    "rows that come from elsewhere": fault(
        "fleet",
        "CREATE SUBSCRIPTION incoming CONNECTION 'port=1' PUBLICATION p WITH (connect = false);"
        "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate)"
        " SELECT oid, r.rel::regclass, 'r' FROM pg_subscription, (VALUES ('drivers'), ('trips_2025')) r(rel)"
        " WHERE subname = 'incoming'",
        ("subscription", "public.drivers", 2),
    ),
    "a tenant that the spec needs": fault(
        "fleet",
        "DELETE FROM firms WHERE slug = 'unknown'",
        ("tenant-gone", "public.firms", None),
    ),
    "a table that is gone": fault("fleet", "DROP TABLE countries", ("spec-does-not-fit", "", None)),
    "a column that is gone": fault("fleet", "ALTER TABLE drivers DROP plate", ("spec-does-not-fit", "", None)),
    "a table that the spec does not know": fault(
        "fleet", "CREATE TABLE new (id int)", ("undecided", "public.new", None)
    ),
    "rows that nobody will own": fault(
        "fleet before", "INSERT INTO crates VALUES (77, 'of nobody')", ("orphans", "public.crates", 1)
    ),
    "children of two tenants": fault(
        "fleet before",
        "INSERT INTO loads VALUES (999, 1, 2)",
        ("conflicts", "public.crates", 1),
        inherent={("conflicts", "public.loads", 1): "its own path leads to one tenant, its crate to the other"},
    ),
    "an assignment that cannot be worked out": fault(
        "fleet before",
        "SELECT",
        ("census-not-made", "", None),
        spec=lambda text: text.replace(
            'name = "trucks"\npaths = [["depot"]]', 'name = "trucks"\nassign = { sql = "(1 / (id - id))::text" }'
        ),
    ),
    "no tenant table": fault(
        "fleet before", "DROP TABLE firms CASCADE", ("tenant-table-missing", "public.firms", None)
    ),
    "tables that refer to each other": fault(
        "fleet",
        "ALTER TABLE plates ADD country text REFERENCES countries;"
        "ALTER TABLE countries ADD plate text REFERENCES plates",
        ("circular-foreign-keys", "public.countries", None),
    ),
    "a share that the spec calls too large": fault(
        "fleet",
        "SELECT",
        ("largest-share", "public.crates", None),
        spec=lambda text: text + "[limits]\nlargest_share = 0.8\n",
    ),
    "a rule that cannot be asked of all rows": fault(
        "fleet",
        "SELECT",
        ("check-failed", "public.trucks", None),
        spec=lambda text: text + '[[rule]]\nname = "odd"\ntable = "trucks"\nviolates = "1 / (t.id - t.id) = 1"\n',
    ),
    "tenants without rows": fault(
        "wide", "INSERT INTO tenants VALUES (98, 'new'), (99, 'newer')", ("empty-tenants", "public.tenants", 2)
    ),
    "a trigger that is gone": fault(
        "fleet", 'DROP TRIGGER "~tenantry_assign" ON trucks', ("not-in-force", "public.trucks", None)
    ),
    "a setting that another spec had": fault(
        "made",
        "SELECT",
        ("spec-changed", "public.notes", None),
        ("spec-changed", "public.tenants", None),
        spec=lambda text: text.replace("create = true", 'create = true\nsetting = "app.other"'),
        inherent={
            ("own-rows-hidden", f"public.{table}", 1): "no row is seen by a setting that no policy asks"
            for table in ("notes", "tenants")
        },
    ),
    "a table that is owned no more": fault(
        "made",
        "SELECT",
        ("orphaned", "public.notes", None),
        ("spec-changed", "public.notes", None),
        inherent={("shared-table-writable", "public.notes", 3): "the privileges are those of an owned table"},
        spec=lambda text: text.replace('assign = { tenant = "zero" }', "shared = true"),
    ),
    "a policy that is not as it was": fault(
        "fleet", "ALTER POLICY tenantry_floor ON trucks USING (true)", ("altered", "public.trucks", None)
    ),
    "a table that came later": fault(
        "fleet",
        "CREATE TABLE later (id int PRIMARY KEY)",
        *(("phase-pending", phase, None) for phase in ("expand", "enforce", "isolate")),
        spec=lambda text: text + '[[table]]\nname = "later"\nassign = { tenant = "ant" }\n',
    ),
    "a tenant column of another type": fault(
        "fleet expanded",
        "ALTER TABLE drivers ALTER firm TYPE text",
        ("tenant-column-type", "public.drivers", None),
        inherent={("check-failed", "public.drivers", None): "a text and a key are not compared"},
    ),
    "a tenant without a key of its own": fault(
        "made", "ALTER TABLE tenants ALTER id DROP DEFAULT", ("tenant-key-default", "public.tenants", None)
    ),
    "tenants that may be called alike": fault(
        "made", "ALTER TABLE tenants ALTER slug DROP NOT NULL", ("tenant-not-unique", "public.tenants", None)
    ),
    "somebody whom the policies filter": fault(
        "fleet",
        "GRANT pg_read_all_data TO {role}",
        *(("rows-hidden", table, None) for table in GUARDED),
        inherent={("experiment-not-tried", "", None): "who only reads may not act as the application"},
        role="LOGIN",
    ),
}
