"""What a hostile application role tries: each attempt with what it is, in the words of the list in docs/threat-model.md.

A and B stand for the tenants' keys. An attempt is one or several statements in a transaction of tenant A, unless its
`tenant` is None: then no tenant is named at all. All may end in an error; none may reach a row of B's or a right.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attempt:
    """`since` is the first version of PostgreSQL that has the statement."""

    what: str
    statements: str
    tenanted: bool = True
    since: int = 14


def _each(what: str, statements: str, names: Iterable[str], **options: bool) -> list[Attempt]:
    return [Attempt(what.format(name), statements.replace("NAME", name), **options) for name in names]


OWNED = ("people", "shops", "lots", "crates", "moves", "notices", "replies", "parcels", "orders", "lines", "stock")
TEMPORARY = """
CREATE TEMP TABLE audit (id bigint, what text); CREATE TEMP TABLE loot (who text); GRANT ALL ON loot, audit TO PUBLIC;
CREATE FUNCTION pg_temp.rise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF current_user <> session_user THEN EXECUTE format('ALTER ROLE %I SUPERUSER', session_user); END IF; RETURN NEW; END $$;
CREATE TRIGGER rise BEFORE INSERT ON pg_temp.audit FOR EACH ROW EXECUTE FUNCTION pg_temp.rise();
"""
LEAK = """
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN RAISE NOTICE 'seen %', $1; RETURN true; END $$;
"""

READING = [
    *_each("reads all of {}", "SELECT * FROM NAME", OWNED),
    *_each(
        "reads all of {} without a tenant", "SELECT * FROM NAME WHERE note LIKE 'B-%' OR true", OWNED, tenanted=False
    ),
    Attempt("reads the tenant table", "SELECT * FROM tenants"),
    *_each("reads partition {} directly", "SELECT * FROM NAME", ("orders_2025", "orders_rest")),
    *_each("reads view {} of the owner's", "SELECT * FROM NAME", ("shop_notes", "sound_notes")),
    Attempt("asks a function of the owner's for B's shop", "SELECT note_of(2)"),
    Attempt("sets the tenant to nothing", "SET LOCAL app.tenant_id = ''; SELECT * FROM lots, moves, notices"),
    Attempt("sets the tenant to text that is no key", "SET LOCAL app.tenant_id = '%'; SELECT * FROM lots"),
    Attempt(
        "sets the tenant to SQL", "SELECT set_config('app.tenant_id', 'x'' OR ''1''=''1', true); SELECT * FROM lots"
    ),
    Attempt("sets the tenant to two keys", "SET LOCAL app.tenant_id = 'A', 'B'; SELECT * FROM lots"),
    Attempt("resets the tenant", "RESET app.tenant_id; SELECT * FROM moves"),
    Attempt("discards all settings", "COMMIT; DISCARD ALL; SELECT * FROM moves"),
    Attempt("turns row security off", "SET LOCAL row_security = off; SELECT * FROM lots"),
    Attempt("copies a table out", "COPY lots TO STDOUT"),
    Attempt("joins its rows to B's", "SELECT l.* FROM moves m JOIN lots l ON true"),
    Attempt("joins on the tenant being another", "SELECT x.* FROM lots l RIGHT JOIN lots x ON x.id <> l.id"),
    Attempt(
        "reads through a correlated subquery",
        "SELECT (SELECT string_agg(note, '') FROM moves x WHERE x.id <> m.id) FROM moves m",
    ),
    Attempt(
        "reads through a lateral join", "SELECT n.* FROM shops s, LATERAL (SELECT * FROM moves WHERE shop <> s.id) n"
    ),
    Attempt("aggregates over all", "SELECT string_agg(note, ','), max(note), min(note) FROM moves"),
    Attempt(
        "reads in a recursive query",
        "WITH RECURSIVE r AS (SELECT 1 AS id UNION SELECT l.id FROM lots l, r) SELECT note FROM lots WHERE id IN (SELECT id FROM r)",
    ),
    Attempt("samples a table", "SELECT * FROM stock TABLESAMPLE BERNOULLI (100)"),
    Attempt(
        "reads by address",
        "SELECT * FROM lots WHERE ctid IN (SELECT format('(0,%s)', n)::tid FROM generate_series(0, 60) n)",
    ),
    Attempt(
        "opens a cursor before its tenant changes",
        "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM lots; SET LOCAL app.tenant_id = ''; FETCH ALL FROM c",
    ),
    Attempt(
        "prepares before its tenant changes",
        "PREPARE p AS SELECT * FROM lots; SET LOCAL app.tenant_id = ''; EXECUTE p; DEALLOCATE p",
    ),
    Attempt("explains with values", "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM lots WHERE note LIKE 'B-%'"),
    Attempt("puts a cheap leaky function into a condition", f"{LEAK} SELECT * FROM lots WHERE pg_temp.leak(note)"),
    Attempt(
        "puts a leaky function into a view of its own",
        f"{LEAK} CREATE TEMP VIEW v AS SELECT * FROM moves WHERE pg_temp.leak(note); SELECT * FROM v",
    ),
    Attempt(
        "puts a leaky function below a join",
        f"{LEAK} SELECT 1 FROM shops s JOIN moves m ON pg_temp.leak(m.note) AND m.shop = s.id",
    ),
    Attempt(
        "puts a leaky operator into a condition",
        f"{LEAK} CREATE FUNCTION pg_temp.op(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT pg_temp.leak($1)'; CREATE OPERATOR pg_temp.=== (FUNCTION = pg_temp.op, LEFTARG = text, RIGHTARG = text); SELECT * FROM lots WHERE note OPERATOR(pg_temp.===) ''",
    ),
    Attempt(
        "puts a leaky function into an aggregate's filter",
        f"{LEAK} SELECT count(*) FILTER (WHERE pg_temp.leak(note)) FROM moves",
    ),
    Attempt("puts a leaky function into a sort", f"{LEAK} SELECT 1 FROM moves ORDER BY pg_temp.leak(note)"),
    Attempt("casts others' text to a number for its error", "SELECT note::int FROM lots WHERE id = 2"),
    Attempt("divides by zero where B has rows", "SELECT CASE WHEN note LIKE 'B-%' THEN 1 / (id - id) END FROM lots"),
    Attempt("writes others' rows to its own table", "CREATE TEMP TABLE mine AS SELECT * FROM moves; TABLE mine"),
    Attempt("maps a table to XML", "SELECT table_to_xml('lots', true, true, '')"),
    Attempt("maps a query to XML", "SELECT query_to_xml('SELECT * FROM lots', true, true, '')"),
    Attempt("maps the whole schema to XML", "SELECT schema_to_xml('public', true, true, '')"),
    Attempt("reads statistics", "SELECT * FROM pg_stats WHERE schemaname = 'public'"),
    Attempt("reads statistics past their view", "SELECT * FROM pg_catalog.pg_statistic"),
    Attempt("reads extended statistics", "SELECT * FROM pg_catalog.pg_statistic_ext_data"),
    Attempt("reads what others run", "SELECT query FROM pg_stat_activity"),
    Attempt("locks B's rows to read them", "SELECT * FROM lots FOR UPDATE"),
    Attempt("locks B's row by its key", "SELECT * FROM lots WHERE id = 2 FOR KEY SHARE"),
    Attempt("is given B's row by an update", "UPDATE lots SET id = id WHERE id = 2 RETURNING *"),
    Attempt("is given B's row by a delete", "DELETE FROM moves WHERE id = 2 RETURNING *"),
    Attempt(
        "is given B's row by a conflict",
        "INSERT INTO lots VALUES (2, 'x') ON CONFLICT (id) DO UPDATE SET note = lots.note RETURNING *",
    ),
    Attempt(
        "is given B's row by a conflict on B's address",
        "INSERT INTO people VALUES (9, 'A', 'b@b.example', 'x') ON CONFLICT DO NOTHING RETURNING *",
    ),
    Attempt(
        "joins B's rows to an update",
        "UPDATE moves SET note = l.note FROM lots l WHERE l.id <> moves.id RETURNING moves.*, l.*",
    ),
    Attempt("joins B's rows to a delete", "DELETE FROM parcels USING moves m WHERE m.note LIKE 'B-%' RETURNING m.*"),
    Attempt(
        "merges B's rows into its own",
        "MERGE INTO lots USING moves m ON lots.id = m.lot WHEN MATCHED THEN UPDATE SET note = m.note WHEN NOT MATCHED THEN INSERT VALUES (m.id + 500, m.note)",
        since=15,
    ),
    Attempt(
        "reads as its own security definer",
        "CREATE FUNCTION pg_temp.f() RETURNS SETOF lots LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM public.lots'; SELECT * FROM pg_temp.f()",
    ),
    Attempt("reads the journal", "SELECT * FROM tenantry.runs"),
    Attempt(
        "reads whatever schema tenantry has",
        "DO $$ DECLARE t text; r text; BEGIN FOR t IN SELECT oid::regclass::text FROM pg_class WHERE relnamespace = to_regnamespace('tenantry') AND relkind IN ('r', 'v', 'p') LOOP BEGIN EXECUTE format('SELECT string_agg(x::text, '','') FROM %s x', t) INTO r; RAISE NOTICE 'B-SECRET of tenantry: % %', t, r; EXCEPTION WHEN insufficient_privilege THEN NULL; END; END LOOP; END $$",
    ),
    Attempt("reads the balances of all", "SELECT * FROM stock_balances WHERE shop = 2"),
    Attempt("reads a file of the server", "SELECT pg_read_file('PG_VERSION')"),
    Attempt("lists the server's folder", "SELECT pg_ls_dir('.')"),
    Attempt("copies from a file", "CREATE TEMP TABLE f (t text); COPY f FROM '/etc/passwd'; TABLE f"),
    Attempt("copies from a program", "CREATE TEMP TABLE f (t text); COPY f FROM PROGRAM 'id'; TABLE f"),
    Attempt("imports a file as a large object", "SELECT lo_import('/etc/passwd')"),
    Attempt("reads raw pages", "SELECT get_raw_page('lots', 0)"),
    Attempt("counts what its rows hide", "SELECT note, count(*) FROM stock GROUP BY GROUPING SETS ((note), ())"),
    Attempt(
        "reads B's rows as a whole-row value",
        "SELECT m FROM moves m, LATERAL (SELECT m.note) x WHERE to_jsonb(m) ->> 'note' LIKE 'B-%'",
    ),
    Attempt(
        "reads before and after in one statement",
        "WITH u AS (UPDATE lots SET note = 'u' RETURNING *) SELECT * FROM lots, u",
    ),
    Attempt(
        "reads while the tenant changes in the statement",
        "SELECT set_config('app.tenant_id', '', true), l.* FROM lots l",
    ),
    Attempt(
        "reads what a savepoint left", "SAVEPOINT s; SET LOCAL app.tenant_id = ''; ROLLBACK TO s; SELECT * FROM lots"
    ),
]

WRITING = [
    *_each("changes all of {}", "UPDATE NAME SET note = 'taken' WHERE note LIKE 'B-%' OR note IS NULL", OWNED),
    *_each("deletes all of {} that is not its own", "DELETE FROM NAME WHERE note LIKE 'B-%'", OWNED),
    *_each("changes all of {} without a tenant", "UPDATE NAME SET note = 'taken'", OWNED, tenanted=False),
    *_each("empties {}", "TRUNCATE NAME CASCADE", ("lots", "moves", "orders", "orders_2025", "stock")),
    Attempt("gives its row to B", "UPDATE lots SET tenant_id = 'B' WHERE id = 1"),
    Attempt("takes B's row by its tenant column", "UPDATE lots SET tenant_id = 'A' WHERE id = 2"),
    Attempt("sets a tenant to NULL", "UPDATE lots SET tenant_id = NULL WHERE id = 2"),
    Attempt("inserts a row of B's", "INSERT INTO lots (id, note, tenant_id) VALUES (901, 'PLANTED', 'B')"),
    Attempt(
        "inserts a row of B's without a tenant",
        "INSERT INTO lots (id, note, tenant_id) VALUES (902, 'PLANTED', 'B')",
        tenanted=False,
    ),
    Attempt(
        "copies rows of B's in", "INSERT INTO moves (id, shop, lot, note, tenant_id) VALUES (903, 2, 2, 'PLANTED', 'B')"
    ),
    Attempt("takes a lot by a movement", "INSERT INTO moves (id, shop, lot, note) VALUES (904, 1, 2, 'theft')"),
    Attempt(
        "takes a lot by a movement, checks deferred",
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO moves (id, shop, lot, note) VALUES (905, 1, 2, 'theft'); SELECT * FROM lots WHERE id = 2",
    ),
    Attempt(
        "takes a lot by a movement without a tenant",
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO moves (id, shop, lot, note) VALUES (906, 1, 4, 'theft')",
        tenanted=False,
    ),
    Attempt(
        "takes a crate by the user's own deferred key",
        "INSERT INTO moves (id, shop, lot, crate, note) VALUES (907, 1, 1, 2, 'theft'); SELECT * FROM crates WHERE id = 2",
    ),
    Attempt(
        "moves its movement to B's lot",
        "SET CONSTRAINTS ALL DEFERRED; UPDATE moves SET lot = 4 WHERE id = 1; SELECT * FROM lots",
    ),
    Attempt("moves its movement to B's crate", "UPDATE moves SET crate = 4 WHERE id = 1; SELECT * FROM crates"),
    Attempt(
        "takes a crate by a movement without a shop",
        "INSERT INTO moves (id, lot, crate, note) VALUES (908, 1, 6, 'theft')",
    ),
    Attempt(
        "takes a crate and says so to the triggers",
        "SET LOCAL tenantry.adopting = 'on'; INSERT INTO moves (id, shop, lot, crate, note) VALUES (909, 1, 1, 8, 'theft')",
    ),
    Attempt(
        "takes a crate and says that it fills",
        "SET LOCAL tenantry.filling = 'on'; INSERT INTO moves (id, shop, lot, crate, note) VALUES (910, 1, 1, 8, 'theft')",
    ),
    Attempt(
        "takes a lot, unsetting its tenant in the same statement",
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO moves (id, shop, lot, note) VALUES (911, 1, 2, 'theft') RETURNING set_config('app.tenant_id', '', true)",
    ),
    Attempt(
        "takes a crate, unsetting its tenant in the same statement",
        "INSERT INTO moves (id, shop, lot, crate, note) VALUES (912, 1, 1, 2, 'theft') RETURNING set_config('app.tenant_id', '', true)",
    ),
    Attempt(
        "takes a crate, unsetting its tenant before the commit",
        "INSERT INTO moves (id, shop, lot, crate, note) VALUES (913, 1, 1, 2, 'theft'); SET LOCAL app.tenant_id = ''",
    ),
    Attempt(
        "takes a lot that has not moved yet", "INSERT INTO moves (id, shop, lot, note) VALUES (940, 1, 20, 'theft')"
    ),
    Attempt(
        "takes a lot that has not moved yet, checks deferred",
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO moves (id, shop, lot, note) VALUES (941, 1, 20, 'theft'); SELECT * FROM lots WHERE id = 20",
    ),
    Attempt(
        "takes a lot that has not moved yet without a tenant",
        "SET CONSTRAINTS ALL DEFERRED; INSERT INTO moves (id, shop, lot, note) VALUES (942, 1, 20, 'theft')",
        tenanted=False,
    ),
    Attempt(
        "takes a crate that has not moved yet by the user's own deferred key",
        "INSERT INTO moves (id, shop, lot, crate, note) VALUES (943, 1, 1, 20, 'theft'); SELECT * FROM crates WHERE id = 20",
    ),
    Attempt(
        "takes a crate that has not moved yet by an update",
        "UPDATE moves SET crate = 20 WHERE id = 3; SELECT * FROM crates WHERE id = 20",
    ),
    Attempt(
        "takes a crate that has not moved yet and says so to the triggers",
        "SET LOCAL tenantry.adopting = 'on'; INSERT INTO moves (id, shop, lot, crate, note) VALUES (944, 1, 1, 22, 'theft')",
    ),
    Attempt(
        "takes a crate that has not moved yet and says that it fills",
        "SET LOCAL tenantry.filling = 'on'; INSERT INTO moves (id, shop, lot, crate, note) VALUES (945, 1, 1, 22, 'theft')",
    ),
    Attempt(
        "takes a crate that has not moved yet, unsetting its tenant in the same statement",
        "INSERT INTO moves (id, shop, lot, crate, note) VALUES (946, 1, 1, 22, 'theft') RETURNING set_config('app.tenant_id', '', true)",
    ),
    Attempt(
        "takes a crate that has not moved yet, unsetting its tenant before the commit",
        "INSERT INTO moves (id, shop, lot, crate, note) VALUES (947, 1, 1, 22, 'theft'); SET LOCAL app.tenant_id = ''",
    ),
    Attempt(
        "takes a crate that has not moved yet by a movement without a shop",
        "INSERT INTO moves (id, lot, crate, note) VALUES (948, 1, 22, 'theft')",
    ),
    Attempt(
        "takes a crate that has not moved yet by a conflict",
        "INSERT INTO moves (id, shop, lot, note) VALUES (1, 1, 1, 'x') ON CONFLICT (id) DO UPDATE SET crate = 22",
    ),
    Attempt(
        "takes a crate that has not moved yet and shadows the owner's table",
        f"{TEMPORARY} SET CONSTRAINTS ALL DEFERRED; INSERT INTO moves (id, shop, lot, crate, note) VALUES (949, 1, 20, 20, 'rise')",
    ),
    Attempt("answers a notice of B's", "INSERT INTO replies (id, notice, shop, note) VALUES (914, 4, 1, 'theft')"),
    Attempt(
        "answers a notice of B's, unsetting its tenant",
        "INSERT INTO replies (id, notice, shop, note) VALUES (915, 4, 1, 'theft') RETURNING set_config('app.tenant_id', '', true)",
    ),
    Attempt(
        "answers a notice of B's while it says that it fills",
        "SET LOCAL tenantry.filling = 'on'; INSERT INTO replies (id, notice, shop, note) VALUES (916, 4, 1, 'theft')",
    ),
    Attempt("moves its answer to a notice of B's", "UPDATE replies SET notice = 6 WHERE id = 1"),
    Attempt("takes a notice that is everybody's", "UPDATE notices SET shop = 1 WHERE id = 2"),
    Attempt("takes a notice that is everybody's by its tenant", "UPDATE notices SET tenant_id = 'A' WHERE id = 2"),
    Attempt("changes a notice that is everybody's", "UPDATE notices SET note = 'of all, says A' WHERE id = 2"),
    Attempt("deletes a notice that is everybody's", "DELETE FROM notices WHERE id = 2"),
    Attempt(
        "makes its row everybody's",
        "UPDATE notices SET shop = NULL, tenant_id = NULL, note = 'of all, says A' WHERE id = 3",
    ),
    Attempt("inserts a row that is everybody's", "INSERT INTO notices (id, note) VALUES (917, 'of all, says A')"),
    Attempt("sells in B's shop", "INSERT INTO stock (shop, item, quantity, note) VALUES (2, 'item 0', 1000, 'theft')"),
    Attempt(
        "sells in B's shop without a tenant",
        "INSERT INTO stock (shop, item, quantity, note) VALUES (2, 'item 0', 1000, 'theft')",
        tenanted=False,
    ),
    Attempt(
        "sells in B's shop while it says that it fills",
        "SET LOCAL tenantry.filling = 'on'; INSERT INTO stock (shop, item, quantity, note) VALUES (2, 'item 0', 1000, 'theft')",
    ),
    Attempt("moves its stock into B's shop", "UPDATE stock SET shop = 2 WHERE shop = 1"),
    Attempt("writes B's balance", "UPDATE stock_balances SET quantity = 0 WHERE shop = 2"),
    Attempt(
        "writes B's balance where it is kept",
        "DO $$ DECLARE t text; BEGIN FOR t IN SELECT oid::regclass::text FROM pg_class WHERE relnamespace = to_regnamespace('tenantry') AND relkind = 'r' LOOP BEGIN EXECUTE format('DELETE FROM %s', t); EXCEPTION WHEN insufficient_privilege THEN NULL; END; END LOOP; END $$",
    ),
    Attempt("orders from B's shop", "INSERT INTO orders (id, at, shop, note) VALUES (918, '2026-01-01', 2, 'theft')"),
    Attempt("moves its order to B's shop", "UPDATE orders SET shop = 2 WHERE id = 1"),
    Attempt(
        "moves its order across partitions to B's shop", "UPDATE orders SET shop = 2, at = '2025-02-02' WHERE id = 9"
    ),
    Attempt(
        "writes into a partition directly",
        "INSERT INTO orders_rest (id, at, shop, note) VALUES (919, '2026-01-01', 2, 'theft')",
    ),
    Attempt("changes a partition directly", "UPDATE orders_2025 SET note = 'taken'"),
    Attempt(
        "adds a line to B's order", "INSERT INTO lines (order_id, at, n, note) SELECT 2, date '2025-12-29', 9, 'theft'"
    ),
    Attempt("moves its line to B's order", "UPDATE lines SET order_id = 2, at = '2025-12-29' WHERE order_id = 1"),
    Attempt(
        "takes B's number of an order",
        "INSERT INTO orders (id, at, shop, note) VALUES (2, '2025-12-29', 1, 'theft') ON CONFLICT (id, at) DO UPDATE SET shop = 1, note = 'taken'",
    ),
    Attempt("takes B's keys by updating its own", "UPDATE lots SET id = 2 WHERE id = 1"),
    Attempt("renumbers a parent to take B's children", "UPDATE orders SET id = 2, at = '2025-12-29' WHERE id = 1"),
    Attempt(
        "merges into B's rows",
        "MERGE INTO lots USING (VALUES (2)) v(id) ON lots.id = v.id WHEN MATCHED THEN UPDATE SET note = 'taken' WHEN NOT MATCHED THEN INSERT VALUES (2, 'taken')",
        since=15,
    ),
    Attempt(
        "merges B's rows away",
        "MERGE INTO moves USING shops s ON s.id <> moves.shop WHEN MATCHED THEN DELETE",
        since=15,
    ),
    Attempt("keeps a shop for B's keeper", "INSERT INTO shops (id, keeper, note) VALUES (920, 2, 'theft')"),
    Attempt("hands its shop to B's keeper", "UPDATE shops SET keeper = 2 WHERE id = 1"),
    Attempt("takes B's shop by its keeper", "UPDATE shops SET keeper = 1 WHERE id = 2"),
    Attempt("changes who its keeper is", "UPDATE people SET tenant = 'B' WHERE id = 1"),
    Attempt("changes who B's keeper is", "UPDATE people SET tenant = 'A' WHERE id = 2"),
    Attempt("makes a tenant", "INSERT INTO tenants VALUES ('00000000-0000-0000-0000-00000000000c', 'c', 'C')"),
    Attempt("renames B", "UPDATE tenants SET name = 'taken' WHERE id = 'B'"),
    Attempt("takes B's key", "UPDATE tenants SET id = 'B' WHERE id = 'A'"),
    Attempt("deletes B", "DELETE FROM tenants WHERE id = 'B'"),
    Attempt("deletes B without a tenant", "DELETE FROM tenants", tenanted=False),
    Attempt("changes what all share", "UPDATE countries SET note = 'of all, says A'"),
    Attempt("deletes what all share", "DELETE FROM countries"),
    Attempt("sends a parcel of B's", "UPDATE parcels SET shop = 1, note = 'taken' WHERE id = 2"),
    Attempt("puts a parcel into B's shop", "INSERT INTO parcels (id, shop, note) VALUES (921, 2, 'theft')"),
    Attempt("writes through a view of the owner's", "UPDATE shop_notes SET note = 'taken' WHERE id = 2"),
    Attempt("deletes through a view of the owner's", "DELETE FROM sound_notes"),
    Attempt(
        "writes through a view of its own",
        "CREATE TEMP VIEW v AS SELECT * FROM moves; UPDATE v SET note = 'taken' WHERE id = 2",
    ),
    Attempt(
        "changes rows inside a query",
        "WITH d AS (DELETE FROM lots WHERE id = 2 RETURNING *), i AS (INSERT INTO crates (id, note) SELECT id + 700, note FROM d RETURNING *) SELECT * FROM i",
    ),
    Attempt(
        "writes while the tenant changes in the statement",
        "UPDATE lots SET note = set_config('app.tenant_id', '', true) || 'taken' WHERE true",
    ),
    Attempt(
        "writes a tenant that is no key",
        "INSERT INTO lots (id, note, tenant_id) VALUES (922, 'x', '00000000-0000-0000-0000-0000000000ff')",
    ),
]

RISING = [
    Attempt(
        "shadows the owner's table while a crate is taken",
        f"{TEMPORARY} SET CONSTRAINTS ALL DEFERRED; INSERT INTO moves (id, shop, lot, crate, note) VALUES (930, 1, 1, 1, 'rise')",
    ),
    Attempt(
        "shadows the owner's table while its own crate is taken",
        f"{TEMPORARY} INSERT INTO crates VALUES (931, 'mine'); INSERT INTO moves (id, shop, lot, crate, note) VALUES (931, 1, 1, 931, 'rise')",
    ),
    Attempt(
        "shadows the owner's table while rows follow",
        f"{TEMPORARY} UPDATE shops SET note = 'x'; UPDATE people SET note = 'x'; UPDATE moves SET note = note",
    ),
    Attempt(
        "shadows the owner's table without a tenant",
        f"{TEMPORARY} INSERT INTO crates VALUES (932, 'mine'); INSERT INTO moves (id, shop, lot, crate, note) VALUES (932, 1, 1, 932, 'rise')",
        tenanted=False,
    ),
    Attempt(
        "puts pg_temp first in its path",
        f"SET search_path = pg_temp, public; {TEMPORARY} INSERT INTO public.crates VALUES (933, 'mine'); INSERT INTO public.moves (id, shop, lot, crate, note) VALUES (933, 1, 1, 933, 'rise')",
    ),
    Attempt(
        "shadows an operator for the owner's triggers",
        "CREATE FUNCTION pg_temp.eq(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN IF current_user <> session_user THEN EXECUTE format('ALTER ROLE %I SUPERUSER', session_user); END IF; RETURN true; END $$; CREATE OPERATOR pg_temp.= (FUNCTION = pg_temp.eq, LEFTARG = int, RIGHTARG = int); SET search_path = pg_temp, pg_catalog, public; INSERT INTO public.moves (id, shop, lot, note) VALUES (934, 1, 1, 'rise')",
    ),
    Attempt(
        "shadows a cast's type for the owner's triggers",
        "CREATE TYPE pg_temp.uuid AS (x int); SET search_path = pg_temp, public; INSERT INTO public.moves (id, shop, lot, note) VALUES (935, 1, 1, 'rise')",
    ),
    Attempt(
        "calls our trigger functions",
        "DO $$ DECLARE f text; BEGIN FOR f IN SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = to_regnamespace('tenantry') LOOP BEGIN EXECUTE 'SELECT ' || f; RAISE NOTICE 'B-SECRET: called %', f; EXCEPTION WHEN others THEN NULL; END; END LOOP; END $$",
    ),
    Attempt(
        "puts our trigger functions on a table of its own",
        "DO $$ DECLARE f text; BEGIN CREATE TEMP TABLE t (id int, tenant_id uuid, note text); FOR f IN SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = to_regnamespace('tenantry') AND prorettype = 'trigger'::regtype LOOP BEGIN EXECUTE format('CREATE TRIGGER x%s AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION %s', md5(f), f); RAISE NOTICE 'B-SECRET: put %', f; EXCEPTION WHEN insufficient_privilege THEN NULL; END; END LOOP; END $$",
    ),
    Attempt(
        "replaces our functions",
        "DO $$ DECLARE f text; BEGIN FOR f IN SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = to_regnamespace('tenantry') LOOP BEGIN EXECUTE format('CREATE OR REPLACE FUNCTION %s RETURNS trigger LANGUAGE sql AS ''SELECT NULL''', f); EXCEPTION WHEN others THEN NULL; END; END LOOP; END $$",
    ),
    Attempt(
        "alters our functions",
        "DO $$ DECLARE f text; BEGIN FOR f IN SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = to_regnamespace('tenantry') LOOP BEGIN EXECUTE format('ALTER FUNCTION %s SECURITY INVOKER SET search_path = public', f); EXCEPTION WHEN others THEN NULL; END; END LOOP; END $$",
    ),
    Attempt("makes a table in schema tenantry", "CREATE TABLE tenantry.mine (x int)"),
    Attempt(
        "makes a function in schema tenantry", "CREATE FUNCTION tenantry.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    ),
    Attempt("writes the journal", "INSERT INTO tenantry.runs SELECT * FROM tenantry.runs"),
    Attempt("deletes the journal", "DELETE FROM tenantry.steps"),
    Attempt("drops schema tenantry", "DROP SCHEMA tenantry CASCADE"),
    *_each("switches triggers of {} off", "ALTER TABLE NAME DISABLE TRIGGER ALL", ("moves", "lots")),
    Attempt(
        "switches triggers off as a replica",
        "SET LOCAL session_replication_role = replica; INSERT INTO moves (id, shop, lot, note) VALUES (936, 1, 2, 'theft')",
    ),
    Attempt("switches row security of a table off", "ALTER TABLE lots DISABLE ROW LEVEL SECURITY"),
    Attempt("lets the owner past the policies", "ALTER TABLE lots NO FORCE ROW LEVEL SECURITY"),
    Attempt("makes a policy", "CREATE POLICY mine ON lots USING (true)"),
    Attempt(
        "drops our policies",
        "DO $$ DECLARE p record; BEGIN FOR p IN SELECT polname, polrelid::regclass AS t FROM pg_policy LOOP BEGIN EXECUTE format('DROP POLICY %I ON %s', p.polname, p.t); EXCEPTION WHEN insufficient_privilege THEN NULL; END; END LOOP; END $$",
    ),
    Attempt(
        "drops our triggers",
        "DO $$ DECLARE p record; BEGIN FOR p IN SELECT tgname, tgrelid::regclass AS t FROM pg_trigger WHERE NOT tgisinternal LOOP BEGIN EXECUTE format('DROP TRIGGER %I ON %s', p.tgname, p.t); EXCEPTION WHEN others THEN NULL; END; END LOOP; END $$",
    ),
    Attempt(
        "makes a trigger on a table",
        "CREATE FUNCTION pg_temp.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER mine BEFORE INSERT ON lots FOR EACH ROW EXECUTE FUNCTION pg_temp.t()",
    ),
    Attempt("makes a rule on a table", "CREATE RULE mine AS ON INSERT TO lots DO ALSO SELECT 1"),
    Attempt("adds a child to a table", "CREATE TABLE public.heir () INHERITS (lots)"),
    Attempt(
        "adds a partition", "CREATE TEMP TABLE o PARTITION OF orders FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')"
    ),
    Attempt("refers to a table with a key of its own", "CREATE TEMP TABLE r (id int REFERENCES lots)"),
    Attempt("changes the column's default", "ALTER TABLE lots ALTER tenant_id SET DEFAULT 'A'"),
    Attempt("drops the tenant column", "ALTER TABLE lots DROP COLUMN tenant_id"),
    *_each(
        "becomes {}",
        "SET ROLE NAME",
        ("postgres", "pg_read_all_data", "pg_write_all_data", "pg_execute_server_program"),
    ),
    Attempt("becomes another session user", "SET SESSION AUTHORIZATION postgres"),
    Attempt("makes itself superuser", "ALTER ROLE CURRENT_USER SUPERUSER"),
    Attempt("makes itself pass policies", "ALTER ROLE CURRENT_USER BYPASSRLS"),
    Attempt("grants itself the owner", "GRANT postgres TO CURRENT_USER"),
    Attempt("grants itself all tables", "GRANT ALL ON ALL TABLES IN SCHEMA public, tenantry TO CURRENT_USER"),
    Attempt("hands its rights to all", "GRANT SELECT ON lots TO PUBLIC"),
    Attempt(
        "sets defaults for the owner's rights",
        "ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT ALL ON TABLES TO PUBLIC",
    ),
    Attempt(
        "sets a path for the database",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = evil', current_database()); END $$",
    ),
    Attempt("sets a path for the owner", "ALTER ROLE postgres SET search_path = evil"),
    Attempt("makes a schema", "CREATE SCHEMA evil"),
    Attempt("makes a function in public", "CREATE FUNCTION public.watch_all() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    Attempt(
        "replaces the owner's function",
        "CREATE OR REPLACE FUNCTION public.watch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ),
    Attempt("makes an extension", "CREATE EXTENSION postgres_fdw"),
    Attempt("makes an event trigger", "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION pg_temp.f()"),
    Attempt("publishes all tables", "CREATE PUBLICATION mine FOR ALL TABLES"),
    Attempt("makes a replication slot", "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')"),
    Attempt("changes the server's settings", "COMMIT; ALTER SYSTEM SET row_security = off"),
    Attempt("reloads the server's settings", "SELECT pg_reload_conf()"),
    Attempt(
        "ends other sessions",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres' AND pid <> pg_backend_pid()",
    ),
    Attempt("labels our objects", "COMMENT ON SCHEMA tenantry IS 'B-SECRET mine'"),
    Attempt("takes a table", "ALTER TABLE lots OWNER TO CURRENT_USER"),
    Attempt("renames a table", "ALTER TABLE lots RENAME TO mine"),
    Attempt("runs a program", "COPY (SELECT 1) TO PROGRAM 'true'"),
    Attempt("writes a file", "COPY (SELECT 1) TO '/tmp/tenantry-attempt'"),
]

APPLICATION = [*READING, *WRITING, *RISING]

NOT_HIDDEN = [
    # PostgreSQL asks a conflict's own condition before it asks the policy.
    Attempt(
        "puts a leaky function into ON CONFLICT",
        f"{LEAK} INSERT INTO lots VALUES (2, 'x') ON CONFLICT (id) DO UPDATE SET note = 'mine' WHERE pg_temp.leak(lots.note)",
    ),
]
"""What a session of the application role is told, whatever the policies say: docs/threat-model.md names it."""

OWNER = (
    "puts functions and operators of the names of PostgreSQL's before them, by the search_path of the database",
    "puts types of the names of PostgreSQL's before them, by the search_path of the database",
    "sets the search_path of the session in a trigger",
    "makes every session another role's by a setting of the database",
    "switches triggers off for every session by session_replication_role",
    *(
        f"has {what} call code of its own"
        for what in (
            "a trigger on each row", "a trigger on each statement", "a trigger on TRUNCATE", "a deferred constraint trigger",
            "a constraint trigger that defers another", "a CHECK constraint", "a CHECK constraint of a constant",
            "a column's default", "a generated column", "a domain", "a cast", "an operator", "the expression of an index",
            "an index of a constant", "extended statistics", "a view", "a materialised view", "a policy",
        )
    ),
    "ends the role that its code runs as: RESET ROLE, SET ROLE NONE, RESET SESSION AUTHORIZATION",
    "leaves a cursor WITH HOLD behind that calls its code at the end of the transaction",
    "alters the function that its code is called in",
    "runs a program of the server's from its code",
    "makes itself superuser from its code",
)  # fmt: skip
"""What a database's owner, no superuser, lays out for an operator with more rights: tests/integration/security/hostile.sql,
shadows.sql and test_owners_code.py, while every command runs."""
