"""Faults of isolation and performance: ways around the policies, and what makes them slow."""

from __future__ import annotations

from collections.abc import Mapping

from checks import large_tables
from checks.faults import Fault, fault
from checks.isolated_tenants import LEGACY, ROLE

DEFINER = "CREATE FUNCTION public.{}() RETURNS {} LANGUAGE {} SECURITY DEFINER AS $${}$$;"

FAULTS: Mapping[str, Fault] = {
    "a membership that is not asked": fault(
        "members",
        "ALTER POLICY tenantry_floor_member ON products USING (true)",
        ("tenants-not-apart", "public.products", 6),
        inherent={("altered", "public.products", None): "the policy is not as it was made"},
    ),
    "a policy beside the membership's": fault(
        "members",
        "CREATE POLICY open ON products USING (true)",
        ("policy-added", "public.products", 1),
    ),
    "a policy for everybody": fault(
        "apart",
        'CREATE POLICY open ON "Order" USING (true)',
        ("policy-added", 'public."Order"', 1),
    ),
    "a policy that is named like ours": fault(
        "apart",
        f"CREATE POLICY tenantry_more ON tag FOR SELECT TO {ROLE} USING (true)",
        ("policy-added", "public.tag", 1),
    ),
    "a policy on a partition": fault(
        "apart",
        "CREATE POLICY open ON event_2025 USING (true); CREATE POLICY wide ON event_2025 USING (true)",
        ("policy-added", "public.event_2025", 2),
    ),
    "TRUNCATE through PUBLIC": fault(
        "apart",
        "GRANT TRUNCATE ON line TO PUBLIC",
        ("privilege-past-policies", "public.line", 1),
    ),
    "REFERENCES on a column, and TRIGGER": fault(
        "apart",
        f'GRANT REFERENCES (id), TRIGGER ON "Order" TO {ROLE}',
        ("privilege-past-policies", 'public."Order"', 2),
    ),
    "TRUNCATE on a partition": fault(
        "apart",
        f"GRANT TRUNCATE ON event_rest TO {ROLE}",
        ("privilege-past-policies", "public.event_rest", 1),
        inherent={
            ("phase-pending", "isolate", None): "what it has on a partition is taken away by a step of that phase"
        },
    ),
    "writing what all read": fault(
        "apart",
        f"GRANT INSERT, DELETE ON country TO {ROLE}",
        ("shared-table-writable", "public.country", 2),
    ),
    "writing the tenant table": fault(
        "apart",
        "GRANT UPDATE (name) ON tenants TO PUBLIC",
        ("shared-table-writable", "public.tenants", 1),
    ),
    "a materialised view": fault(
        "apart",
        'CREATE MATERIALIZED VIEW summary AS SELECT org, count(*) FROM "Order" GROUP BY org;'
        "GRANT SELECT ON summary TO PUBLIC",
        ("materialized-view-granted", "public.summary", None),
    ),
    "a function of the owner": fault(
        "apart",
        DEFINER.format("every", 'SETOF "Order"', "sql", 'SELECT * FROM public."Order"'),
        ("security-definer-function", 'public."Order"', None),
    ),
    "a trigger function that nobody may call": fault(
        "apart",
        DEFINER.format("peek", "trigger", "plpgsql", "BEGIN PERFORM 1 FROM public.line; RETURN NEW; END")
        + "REVOKE ALL ON FUNCTION peek() FROM PUBLIC;"
        "CREATE TRIGGER peek BEFORE INSERT ON country FOR EACH ROW EXECUTE FUNCTION peek()",
        ("security-definer-function", "public.line", None),
    ),
    "a rule": fault(
        "apart",
        'CREATE RULE copy AS ON INSERT TO country DO ALSO UPDATE "Order" SET total = 0',
        ("rule-runs-as-owner", "public.country", 1),
    ),
    "a foreign table": fault(
        "apart",
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;"
        f"CREATE FOREIGN TABLE far (id int) SERVER nowhere; GRANT SELECT ON far TO {ROLE}",
        ("foreign-table-open", "public.far", 1),
    ),
    "a foreign partition": fault(
        "apart",
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;"
        "CREATE TABLE log (at int) PARTITION BY LIST (at);"
        "CREATE FOREIGN TABLE log_1 PARTITION OF log FOR VALUES IN (1) SERVER nowhere;"
        "GRANT SELECT, INSERT ON log_1 TO PUBLIC",
        ("foreign-table-open", "public.log_1", 2),
        inherent={("undecided", "public.log", None): "the spec says nothing of the table that it is a part of"},
    ),
    "a role that no policy holds": fault(
        "apart",
        f"ALTER ROLE {ROLE} BYPASSRLS",
        ("application-role-unsafe", "", None),
        inherent={
            ("tenants-not-apart", table, count): "who bypasses the policies gets at everything"
            for table, count in {
                'public."Order"': 17,
                "public.line": 17,
                "public.event": 16,
                "public.tag": 22,
                "public.tenants": 6,
            }.items()
        },
        after=f"ALTER ROLE {ROLE} NOBYPASSRLS",
    ),
    "a role that can become one that sees all": fault(
        "apart",
        f"GRANT {LEGACY} TO {ROLE} WITH INHERIT FALSE",
        ("application-reaches-role", "", 1),
        after=f"REVOKE {LEGACY} FROM {ROLE}",
        pg=">= 16",
    ),
    "files of the server": fault(
        "apart",
        f"GRANT pg_read_server_files TO {ROLE}",
        ("application-power", "", None),
        after=f"REVOKE pg_read_server_files FROM {ROLE}",
    ),
    "a database that is its own": fault(
        "apart",
        f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO {ROLE}', current_database()); END $$",
        ("application-owns", "", None),
    ),
    "a member that no policy holds": fault(
        "apart",
        f"CREATE ROLE apart_web LOGIN BYPASSRLS; GRANT {ROLE} TO apart_web",
        ("application-member-unsafe", "", None),
        after="DROP ROLE apart_web",
    ),
    "a schema to make tables in": fault(
        "apart",
        f"GRANT CREATE ON SCHEMA public TO {ROLE}",
        ("application-creates", "", None),
        pg=">= 15",
    ),
    "a sequence that may be set": fault(
        "apart",
        f"GRANT UPDATE ON SEQUENCE line_id_seq TO {ROLE}",
        ("sequence-settable", "", 1),
    ),
    "another server": fault(
        "apart",
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;"
        f"GRANT USAGE ON FOREIGN SERVER nowhere TO {ROLE}",
        ("foreign-server-usable", "", None),
    ),
    "large objects": fault(
        "apart",
        f"SELECT lo_create(4711), lo_create(4712), lo_create(4713); GRANT SELECT ON LARGE OBJECT 4711 TO {ROLE};"
        "GRANT SELECT ON LARGE OBJECT 4712 TO PUBLIC",
        ("large-objects-open", "", 2),
    ),
    "tables that will be open": fault(
        "apart",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {ROLE}",
        ("default-privileges", "", None),
    ),
    "a table that came later and is open": fault(
        "apart",
        f"CREATE TABLE later (id int, whose text); GRANT SELECT (whose) ON later TO {ROLE}",
        ("table-open", "public.later", 1),
        inherent={("undecided", "public.later", None): "the spec says nothing of it"},
    ),
    "rows that nobody sees": fault(
        "apart",
        "CREATE POLICY none ON line AS RESTRICTIVE USING (false)",
        ("own-rows-hidden", "public.line", 2),
    ),
    "rows that one tenant in the middle does not see": fault(
        "apart",
        """INSERT INTO tenants VALUES ('00000000-0000-0000-0000-000000000004', 'four', 'Four');
        INSERT INTO "Order" (org, code) SELECT t.id, 'more ' || t.slug || n FROM tenants t, generate_series(1, 7) n
          WHERE t.slug = 'four' AND n < 3 OR t.slug = 'three' AND n < 4;
        ALTER POLICY tenantry_application ON "Order" USING (org <> '00000000-0000-0000-0000-000000000003'
          AND org = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid))""",
        ("own-rows-hidden", 'public."Order"', 1),
        inherent={("altered", 'public."Order"', None): "the policy is not as it was made"},
    ),
    "rows of a tenant that there is not": fault(
        "apart",
        """SET session_replication_role = replica;
        UPDATE line SET tenant_id = '00000000-0000-0000-0000-000000000009' WHERE id IN (1, 2)""",
        ("tenants-do-not-add-up", "public.line", 2),
        inherent={
            ("tenant-unknown", "public.line", 2): "their tenant is not in the tenant table",
            ("tenant-differs", "public.line", 2): "it is not the tenant that its order leads to",
        },
    ),
    "a tenant by default": fault(
        "apart",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET app.tenant_id = %L', current_database(), '1'); END $$",
        ("tenant-by-default", "", None),
    ),
    "a publication": fault(
        "apart",
        'CREATE PUBLICATION out FOR TABLE "Order", line, country',
        ("publication", "", 2),
    ),
    "rows that get through": fault(
        "apart",
        "DROP POLICY tenantry_floor_update ON tag; CREATE POLICY wider ON tag FOR UPDATE USING (org IS NULL)",
        ("tenants-not-apart", "public.tag", 4),
        inherent={
            ("not-in-force", "public.tag", None): "it is a policy of ours that is gone",
            ("policy-added", "public.tag", 1): "and one of somebody else's that lets them",
        },
    ),
    "a trigger that speaks first": fault(
        "apart",
        """CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE check_violation; END $$;
        CREATE TRIGGER refuses BEFORE INSERT ON line FOR EACH ROW EXECUTE FUNCTION refuses()""",
        ("experiment-undecided", "", 3),
    ),
    "somebody who cannot become the application": fault(
        "apart",
        "GRANT pg_read_all_data TO {role}",
        ("experiment-not-tried", "", None),
        role="LOGIN BYPASSRLS",
    ),
    "a slow policy": fault(
        "wide",
        f"""CREATE FUNCTION slow(text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
        BEGIN FOR i IN 1..100 LOOP PERFORM md5($1); END LOOP; RETURN true; END $$;
        CREATE POLICY slow ON sales AS RESTRICTIVE TO {large_tables.ROLE} USING (slow(note))""",
        ("policy-cost", "public.sales", None),
    ),
    "an index on the tenant that is gone": fault(
        "wide",
        """DO $$ DECLARE found record; BEGIN
          FOR found IN SELECT i.indexrelid::regclass AS name FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
            AND a.attnum = i.indkey[0] AND a.attname = 'tenant_id' WHERE i.indrelid = 'sales'::regclass LOOP
            EXECUTE format('DROP INDEX %s', found.name);
          END LOOP; END $$""",
        ("query-without-index", "public.sales", 1),
        inherent={("not-in-force", "public.sales", None): "it is an index of ours"},
    ),
    "indexes that nothing uses": fault(
        "wide",
        "SELECT pg_stat_reset()",
        *(("index-unused", f"public.{table}", None) for table in ("sales", "visits_old", "visits_new")),
        spec=lambda text: text.replace("unused_index_days = 30", "unused_index_days = 0"),
    ),
    "a view before 15": fault(
        "wide",
        f"CREATE VIEW v AS SELECT * FROM sales; GRANT SELECT ON v TO {large_tables.ROLE}, PUBLIC",
        ("view-reads-as-owner", "public.v", None),
        ("views-as-owner", "", 1),
        inherent={
            ("tenants-not-apart", "public.v", 1): "what it shows was tried",
            ("phase-pending", "isolate", None): "what the application has on it is taken away by a step of that phase",
        },
        pg="< 15",
    ),
}
