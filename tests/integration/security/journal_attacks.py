"""What the owner of a database may put into schema tenantry, and into the journal."""

from __future__ import annotations

PLANTS = {
    # What is planted, what the refusal says, and how it is taken away.
    "trigger": ("CREATE TRIGGER t BEFORE INSERT ON tenantry.runs FOR EACH ROW EXECUTE FUNCTION public.fired()",
                "the table tenantry.runs has the trigger t", "DROP TRIGGER t ON tenantry.runs"),
    "rule": ("CREATE RULE r AS ON INSERT TO tenantry.events DO ALSO SELECT public.ran()",
             "the table tenantry.events has the rule r", "DROP RULE r ON tenantry.events"),
    "policy": ("CREATE POLICY p ON tenantry.steps USING (public.ran())", "the table tenantry.steps has the policy p",
               "DROP POLICY p ON tenantry.steps"),
    "default": ("ALTER TABLE tenantry.runs ADD o boolean DEFAULT public.ran()",
                "the table tenantry.runs uses the function public.ran()", "ALTER TABLE tenantry.runs DROP o"),
    "check": ("ALTER TABLE tenantry.steps ADD CONSTRAINT c CHECK (public.same(key) <> '') NOT VALID",
              "the table tenantry.steps uses the function public.same(text)", "ALTER TABLE tenantry.steps DROP CONSTRAINT c"),
    "index": ("CREATE INDEX x ON tenantry.events (public.same(run))",
              "the table tenantry.events uses the function public.same(text)", "DROP INDEX tenantry.x"),
    "generated column": ("ALTER TABLE tenantry.runs ADD g text GENERATED ALWAYS AS (public.same(id)) STORED",
                         "the table tenantry.runs uses the function public.same(text)", "ALTER TABLE tenantry.runs DROP g"),
    "domain": ("CREATE DOMAIN public.d AS text CHECK (public.same(VALUE) <> ''); ALTER TABLE tenantry.runs ADD d public.d",
               "the table tenantry.runs uses the type public.d", "ALTER TABLE tenantry.runs DROP d; DROP DOMAIN public.d"),
    "statistics": ("CREATE STATISTICS tenantry.s ON (public.same(run)), key FROM tenantry.events",
                   "the table tenantry.events uses the function public.same(text)", "DROP STATISTICS tenantry.s"),
    "heir": ("CREATE TABLE public.h () INHERITS (tenantry.steps)",
             "the table public.h inherits from tenantry.steps", "DROP TABLE public.h"),
    "foreign key": ("CREATE TABLE public.f (run text REFERENCES tenantry.runs ON DELETE CASCADE)",
                    "the table public.f refers to the table tenantry.runs", "DROP TABLE public.f"),
    "view": ("ALTER TABLE tenantry.filled RENAME TO old; CREATE VIEW tenantry.filled AS SELECT * FROM tenantry.old",
             "tenantry.filled is no ordinary table", "DROP VIEW tenantry.filled; ALTER TABLE tenantry.old RENAME TO filled"),
    "table of another": ("CREATE TABLE tenantry.theirs (id int); ALTER TABLE tenantry.theirs OWNER TO {mallory}",
                         "the table tenantry.theirs belongs to {mallory}", "DROP TABLE tenantry.theirs"),
    "journal of another": ("ALTER TABLE tenantry.steps OWNER TO {mallory}",
                           "the table tenantry.steps belongs to {mallory}", "ALTER TABLE tenantry.steps OWNER TO postgres"),
    "function of another": ("CREATE FUNCTION tenantry.f() RETURNS int LANGUAGE sql AS 'SELECT 1';"
                            " ALTER FUNCTION tenantry.f() OWNER TO {mallory}",
                            "the function tenantry.f() belongs to {mallory}", "DROP FUNCTION tenantry.f()"),
    "schema of another": ("ALTER SCHEMA tenantry OWNER TO {mallory}", "the schema tenantry belongs to {mallory}",
                          "ALTER SCHEMA tenantry OWNER TO postgres; REVOKE ALL ON SCHEMA tenantry FROM {mallory}"),
    "right to create": ("GRANT CREATE ON SCHEMA tenantry TO {mallory}",
                        "{mallory} has the privilege CREATE on the schema tenantry",
                        "REVOKE CREATE ON SCHEMA tenantry FROM {mallory}"),
    "right to write": ("GRANT UPDATE ON tenantry.steps TO PUBLIC",
                       "PUBLIC has the privilege UPDATE on the table tenantry.steps", "REVOKE ALL ON tenantry.steps FROM PUBLIC"),
    "right to write a column": ("GRANT UPDATE (value) ON tenantry.steps TO {mallory}",
                                "{mallory} has the privilege UPDATE on the table tenantry.steps",
                                "REVOKE UPDATE (value) ON tenantry.steps FROM {mallory}"),
    "right to set off": ("GRANT TRIGGER ON tenantry.runs TO {mallory}",
                         "{mallory} has the privilege TRIGGER on the table tenantry.runs",
                         "REVOKE ALL ON tenantry.runs FROM {mallory}"),
}  # fmt: skip


BROKEN = {
    # What somebody has made of a row, and how the refusal names it.
    "no object": ("UPDATE tenantry.steps SET value = '[1]' WHERE position = 1", "of tenantry.steps cannot be read"),
    "no text": ("UPDATE tenantry.steps SET value = 'null' WHERE position = 1", "of tenantry.steps cannot be read"),
    "no such kind": ("UPDATE tenantry.steps SET value = value || '{\"kind\": \"x\"}'", "of tenantry.steps cannot be read"),
    "without its table": ("UPDATE tenantry.steps SET value = value - 'table'", "of tenantry.steps cannot be read"),
    "another type": ("UPDATE tenantry.steps SET value = value || '{\"phase\": 7}'", "of tenantry.steps cannot be read"),
    "another table": ("UPDATE tenantry.steps SET value = jsonb_set(value, '{table}', '[\"public\", \"x\"]')"
                      " WHERE jsonb_typeof(value -> 'table') = 'array' OR true", "of tenantry.steps"),
    "another key": ("UPDATE tenantry.steps SET key = key || 'x'", "of tenantry.steps contains another step"),
    "no such phase": ("UPDATE tenantry.steps SET phase = 'x'", "of tenantry.steps cannot be read: 'x' is not a valid Phase"),
    "nothing recorded": ("UPDATE tenantry.steps SET before = '7'", "of tenantry.steps has a `before` that is not a JSON object"),
    "backup's tables": ("UPDATE tenantry.backups SET tables = '7'", "of tenantry.backups cannot be read: tables"),
    "backup's kind": ("ALTER TABLE tenantry.backups DROP CONSTRAINT IF EXISTS backups_kind_check;"
                      " UPDATE tenantry.backups SET kind = 'x'", "of tenantry.backups cannot be read: kind"),
    "image": ("INSERT INTO tenantry.fixes (run, name, schema_name, table_name, keys, filling, why) VALUES ('r', 'n',"
              " 'public', 'lots', '{id}', false, ''); INSERT INTO tenantry.fixed_rows (fix, key, before)"
              " SELECT id, '{\"id\": 1}', '7' FROM tenantry.fixes", "The row 1 of tenantry.fixed_rows cannot be read"),
}  # fmt: skip
