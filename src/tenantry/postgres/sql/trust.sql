-- name: objections
-- Objects in the schema tenantry that are not owned by the current role or a superuser, or that are not as tenantry has
-- created them, from the catalog alone. Functions belong to the owners of the tables, as which they run, and so do the
-- tables of a ledger's balances.
WITH trusted AS (
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolsuper OR r.rolname = current_user
), place AS (
    SELECT n.* FROM pg_catalog.pg_namespace n WHERE n.nspname = 'tenantry'
), relation AS (
    SELECT c.*, c.oid::regclass::text AS named, c.relname = ANY (%(journal)s::text[]) AS journal,
           c.relname ~ '^(balances|corrections|crossings)_' AND c.relkind = 'r' AS balances
    FROM pg_catalog.pg_class c WHERE c.relnamespace = (SELECT oid FROM place) AND c.relkind NOT IN ('i', 'I', 't')
), given AS (
    SELECT 'schema tenantry' AS named, 'CREATE' AS privilege, e.grantee
    FROM place CROSS JOIN aclexplode(place.nspacl) e WHERE e.privilege_type = 'CREATE'
  UNION
    SELECT 'table ' || r.named, e.privilege_type, e.grantee FROM relation r CROSS JOIN aclexplode(r.relacl) e
    WHERE r.journal AND e.privilege_type <> 'SELECT'
  UNION
    SELECT 'table ' || r.named, e.privilege_type, e.grantee
    FROM relation r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid CROSS JOIN aclexplode(a.attacl) e
    WHERE r.journal AND e.privilege_type <> 'SELECT'
), part AS (
    -- The computed parts of a table: the types and defaults of its columns, its checks, its indexes.
    SELECT r.oid AS relation, r.named, r.journal, 'pg_class'::regclass AS class, r.oid FROM relation r WHERE r.journal
  UNION ALL
    SELECT r.oid, r.named, r.journal, 'pg_attrdef'::regclass, d.oid
    FROM relation r JOIN pg_catalog.pg_attrdef d ON d.adrelid = r.oid
  UNION ALL
    SELECT r.oid, r.named, r.journal, 'pg_constraint'::regclass, k.oid
    FROM relation r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid
  UNION ALL
    SELECT r.oid, r.named, r.journal, 'pg_class'::regclass, i.indexrelid
    FROM relation r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid
  UNION ALL
    SELECT r.oid, r.named, r.journal, 'pg_statistic_ext'::regclass, s.oid
    FROM relation r JOIN pg_catalog.pg_statistic_ext s ON s.stxrelid = r.oid
)
SELECT 1 AS position, 'the schema tenantry belongs to ' || pg_get_userbyid(nspowner) AS problem,
       format('Run tenantry as %%I; or look through the schema, and make all in it yours: ALTER SCHEMA tenantry OWNER TO %%I.',
              pg_get_userbyid(nspowner), current_user) AS remedy
FROM place WHERE nspowner NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT 2, format('the %%s belongs to %%s', pg_describe_object(d.classid, d.objid, 0), pg_get_userbyid(s.refobjid)),
       format('Look at it, and DROP it or make it yours: ALTER ... OWNER TO %%I.', current_user)
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_shdepend s ON s.classid = d.classid AND s.objid = d.objid AND s.objsubid = 0 AND s.deptype = 'o'
  AND s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = (SELECT oid FROM place)
  AND s.refobjid NOT IN (SELECT oid FROM trusted)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc p
                  WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid AND p.prorettype = 'trigger'::regtype)
  AND NOT EXISTS (SELECT FROM relation r WHERE d.classid = 'pg_class'::regclass AND r.oid = d.objid AND r.balances)
  -- A sequence of a column always belongs to the owner of its table.
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend c WHERE d.classid = 'pg_class'::regclass AND c.classid = d.classid
                  AND c.objid = d.objid AND c.refclassid = 'pg_class'::regclass AND c.deptype IN ('a', 'i'))
UNION ALL
SELECT 3, format('%%s has the privilege %%s on the %%s', g.who, g.privilege, g.named),
       format('REVOKE ALL ON %%s FROM %%s', g.named, g.who)
FROM (SELECT given.*, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS who FROM given) g
WHERE g.grantee NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT 4, format('%%s is no ordinary table', r.named), 'Look at what it is, and DROP it.'
FROM relation r WHERE r.relkind NOT IN ('r', 'S') OR r.relkind = 'S' AND r.journal
UNION ALL
SELECT 5, format('the table %%s has the trigger %%s', r.named, quote_ident(t.tgname)),
       format('DROP TRIGGER %%I ON %%s', t.tgname, r.named)
FROM relation r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT 6, format('the table %%s has the rule %%s', r.named, quote_ident(w.rulename)),
       format('DROP RULE %%I ON %%s', w.rulename, r.named)
FROM relation r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT 7, format('the table %%s has the policy %%s', r.named, quote_ident(p.polname)),
       format('DROP POLICY %%I ON %%s', p.polname, r.named)
FROM relation r JOIN pg_catalog.pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT 8, format('the table %%s inherits from %%s', i.inhrelid::regclass, i.inhparent::regclass),
       format('ALTER TABLE %%s NO INHERIT %%s', i.inhrelid::regclass, i.inhparent::regclass)
FROM pg_catalog.pg_inherits i
WHERE i.inhrelid IN (SELECT oid FROM relation) OR i.inhparent IN (SELECT oid FROM relation)
UNION ALL
SELECT 9, format('the table %%s refers to the table %%s', k.conrelid::regclass, r.named),
       format('ALTER TABLE %%s DROP CONSTRAINT %%I', k.conrelid::regclass, k.conname)
FROM relation r JOIN pg_catalog.pg_constraint k ON k.confrelid = r.oid AND k.contype = 'f'
WHERE k.conrelid NOT IN (SELECT oid FROM relation)
UNION ALL
-- The first object that is not PostgreSQL's own has the number 16384. A copy of a user's table has columns of that
-- user's types.
SELECT DISTINCT 10, format('the table %%s uses the %%s', p.named, pg_describe_object(d.refclassid, d.refobjid, 0)),
       'Look at where, and take it away.'
FROM part p JOIN pg_catalog.pg_depend d ON d.classid = p.class AND d.objid = p.oid AND d.refobjid::bigint >= 16384
WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
   OR p.journal AND d.refclassid IN ('pg_type'::regclass, 'pg_opclass'::regclass, 'pg_opfamily'::regclass,
                                     'pg_collation'::regclass, 'pg_am'::regclass)
ORDER BY 1, 2
