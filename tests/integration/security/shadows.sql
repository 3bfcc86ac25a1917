-- Shadows: for each function, operator and type of pg_catalog one of the same name and arguments in schema evil, that
-- writes what it is into the server's log and then does as the real one does. A transaction may be read-only: so no table.
-- What takes or returns a type that PL/pgSQL does not know is left out; where a shadow of an aggregate is called as one, or
-- that of a function of any arguments at all, the server's error tells.
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;

CREATE FUNCTION evil."~seen"(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  RAISE LOG 'shadow of % called as % by %', what, current_user,
    pg_catalog.regexp_replace(pg_catalog.current_query(), '\s+', ' ', 'g');
  RETURN true;
END $$;

DO $do$
DECLARE
  allowed constant text[] := '{anyelement,anyarray,anynonarray,anycompatible,anycompatiblearray,anyrange,anyenum,void,record}';
  f record;
  call text;
BEGIN
  PERFORM set_config('check_function_bodies', 'off', true), set_config('client_min_messages', 'error', true);
  FOR f IN
    SELECT p.oid, p.proname, p.proretset, p.pronargs, p.provariadic <> 0 AS variadic, p.prorettype = 'void'::regtype AS void,
           p.provolatile, format('%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid)) AS signature,
           pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
    FROM pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'w') AND p.proname !~ '^(binary_upgrade|pg_nextoid)'
      AND NOT EXISTS (SELECT FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]) || p.prorettype) a(t)
                      JOIN pg_type y ON y.oid = a.t WHERE y.typtype = 'p' AND y.typname <> ALL (allowed))
      -- SQL's own syntax finds these in pg_catalog.
      AND (p.prorettype <> 'record'::regtype OR p.proallargtypes IS NOT NULL)
  LOOP
    SELECT string_agg(CASE WHEN f.variadic AND n = f.pronargs THEN 'VARIADIC ' ELSE '' END || '$' || n, ', ' ORDER BY n)
    INTO call FROM generate_series(1, f.pronargs) n;
    call := format('pg_catalog.%I(%s)', f.proname, call);
    BEGIN
      EXECUTE format(
        'CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.arguments, f.result,
        format('BEGIN PERFORM evil."~seen"(%L); %s; END', f.signature,
               CASE WHEN f.proretset THEN format('RETURN QUERY SELECT * FROM %s', call)
                    WHEN f.void THEN format('PERFORM %s', call)
                    WHEN f.result LIKE 'record' THEN format('SELECT * FROM %s', call)
                    ELSE format('RETURN %s', call) END));
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  -- Aggregates, and functions of "any": better matches than the real ones.
  FOR f IN
    SELECT * FROM (VALUES ('count', ''), ('count', 'integer'), ('count', 'bigint'), ('count', 'text'), ('max', 'integer'),
      ('max', 'bigint'), ('max', 'text'), ('max', 'timestamptz'), ('min', 'timestamptz'), ('sum', 'integer'), ('sum', 'bigint'),
      ('sum', 'numeric'), ('array_agg', 'text'), ('array_agg', 'oid'), ('bool_or', 'boolean'), ('string_agg', 'text, text'),
      ('format', 'text, text'), ('format', 'text, text, text'), ('format', 'text, name'), ('format', 'text, name, name'),
      ('concat_ws', 'text, text, text'), ('quote_literal', 'text'), ('pg_typeof', 'text'), ('to_jsonb', 'text'),
      ('jsonb_build_object', 'text, text'), ('row_to_json', 'record')) AS v(name, arguments)
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS text LANGUAGE plpgsql AS %L', f.name, f.arguments,
                     format('BEGIN RAISE EXCEPTION ''shadow of %s''; END', f.name));
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  -- Operators, and for text also those that a domain or a varchar would rather have.
  FOR f IN
    SELECT o.oprname, l.t AS left_type, r.t AS right_type, row_number() OVER () AS number,
           format('operator %s (%s, %s)', o.oprname, l.t, r.t) AS named, pr.t AS result
    FROM pg_operator o
    CROSS JOIN LATERAL (SELECT format_type(nullif(o.oprleft, 0), NULL)
                        UNION SELECT 'varchar' WHERE o.oprleft = 'text'::regtype) l(t)
    CROSS JOIN LATERAL (SELECT format_type(o.oprright, NULL)
                        UNION SELECT 'varchar' WHERE o.oprright = 'text'::regtype) r(t)
    CROSS JOIN LATERAL (SELECT format_type(o.oprresult, NULL)) pr(t)
    WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprcode <> 0
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', '~' || f.number,
                     concat_ws(', ', f.left_type, f.right_type), f.result,
                     format('BEGIN PERFORM evil."~seen"(%L); RETURN %s; END', f.named,
                            CASE WHEN f.left_type IS NULL THEN format('OPERATOR(pg_catalog.%s) $1', f.oprname)
                                 ELSE format('$1 OPERATOR(pg_catalog.%s) $2', f.oprname) END));
      EXECUTE format('CREATE OPERATOR evil.%s (%s RIGHTARG = %s, FUNCTION = evil.%I)', f.oprname,
                     coalesce('LEFTARG = ' || f.left_type || ',', ''), f.right_type, '~' || f.number);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
  -- Types.
  FOR f IN SELECT unnest('{text,name,oid,regclass,regproc,regprocedure,regrole,regnamespace,regtype,regoperator,regcollation,
    jsonb,json,uuid,tid,xid,float8,int2,int4,int8,bool,bytea,date,timestamptz,cstring,pg_lsn,pg_snapshot}'::text[]) AS name
  LOOP
    BEGIN
      EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.%I CHECK (evil."~seen"(%L))', f.name, f.name, 'type ' || f.name);
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END LOOP;
END
$do$;
