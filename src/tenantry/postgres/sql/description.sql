-- name: forget
DELETE FROM tenantry.described

-- name: note
INSERT INTO tenantry.described (relation, object, definition)
SELECT * FROM jsonb_to_recordset(%(rows)s) AS d(relation text, object text, definition text)

-- name: known
SELECT to_regclass('tenantry.described') IS NOT NULL

-- name: begun
SELECT EXISTS (SELECT FROM tenantry.steps)

-- name: noted
SELECT relation, object, definition FROM tenantry.described

-- name: describe
-- The contents of a schema dump, object by object. `relation` is the table or view to which an object belongs, or
-- empty.
WITH place AS (
    SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n
    WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'tenantry') AND n.nspname !~ '^pg_'
), relation AS (
    SELECT c.*, c.oid::regclass::text AS named FROM pg_catalog.pg_class c JOIN place ON place.oid = c.relnamespace
    WHERE c.relpersistence <> 't'
), routine AS (
    SELECT p.*, p.oid::regprocedure::text AS named FROM pg_catalog.pg_proc p JOIN place ON place.oid = p.pronamespace
)
SELECT '' AS relation, 'schema ' || quote_ident(nspname) AS object, pg_get_userbyid(nspowner)::text AS definition FROM place
UNION ALL
SELECT '', 'privilege on schema ' || quote_ident(nspname) || ' for ' || e.grantee::regrole || ' from ' || e.grantor::regrole
       || ': ' || e.privilege_type, e.is_grantable::text
FROM place CROSS JOIN aclexplode(coalesce(nspacl, acldefault('n', nspowner))) e
UNION ALL
SELECT named, CASE relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END
       || named,
       concat_ws(' ', pg_get_userbyid(relowner), relpersistence, pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid),
                 CASE WHEN relkind IN ('v', 'm') THEN md5(pg_get_viewdef(oid)) END)
FROM relation WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
SELECT named, 'options of ' || named, coalesce(reloptions::text, '') FROM relation WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT named, 'row security of ' || named, concat_ws(' ', relrowsecurity, relforcerowsecurity)
FROM relation WHERE relkind IN ('r', 'p')
UNION ALL
SELECT named, 'replica identity of ' || named, relreplident::text FROM relation WHERE relkind IN ('r', 'p')
UNION ALL
SELECT named, 'privilege on ' || named || coalesce(' (' || quote_ident(a.attname) || ')', '') || ' for '
       || e.grantee::regrole || ' from ' || e.grantor::regrole || ': ' || e.privilege_type, e.is_grantable::text
FROM (SELECT named, NULL::name AS attname,
             -- No list is the same as the list that it stands for.
             coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) AS acl
      FROM relation WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      UNION ALL
      SELECT named, t.attname, t.attacl FROM relation r JOIN pg_catalog.pg_attribute t ON t.attrelid = r.oid
      WHERE t.attacl IS NOT NULL AND NOT t.attisdropped) a
CROSS JOIN aclexplode(a.acl) e
UNION ALL
SELECT named, 'column ' || named || '.' || quote_ident(a.attname),
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END, a.attidentity,
                 a.attgenerated, a.attcollation::regcollation, a.attstorage, a.attcompression, a.attstattarget,
                 pg_get_expr(d.adbin, d.adrelid))
FROM relation r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT named, 'constraint ' || quote_ident(k.conname) || ' of ' || named,
       concat_ws(' ', pg_get_constraintdef(k.oid), k.condeferrable, k.condeferred, k.convalidated)
FROM relation r JOIN pg_catalog.pg_constraint k ON k.conrelid = r.oid
-- Not the copies of a foreign key for the partitions to which it leads: PostgreSQL names them.
WHERE k.contype <> 'n' AND NOT EXISTS (
    WITH RECURSIVE up(parent, target) AS (
        SELECT k.conparentid, k.confrelid
      UNION ALL
        SELECT p.conparentid, p.confrelid FROM up JOIN pg_catalog.pg_constraint p ON p.oid = up.parent
    )
    SELECT FROM up WHERE target <> k.confrelid)
UNION ALL
SELECT i.indrelid::regclass::text, 'index ' || x.named,
       concat_ws(' ', pg_get_indexdef(i.indexrelid), x.reloptions::text, i.indisclustered, i.indisreplident, i.indisvalid)
FROM pg_catalog.pg_index i JOIN relation x ON x.oid = i.indexrelid
UNION ALL
SELECT named, 'trigger ' || quote_ident(t.tgname) || ' of ' || named, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
FROM relation r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT named, 'policy ' || quote_ident(p.polname) || ' of ' || named,
       concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid),
                 pg_get_expr(p.polwithcheck, p.polrelid))
FROM relation r JOIN pg_catalog.pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT named, 'rule ' || quote_ident(w.rulename) || ' of ' || named, concat_ws(' ', w.ev_enabled, md5(pg_get_ruledef(w.oid)))
FROM relation r JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN'
UNION ALL
SELECT s.stxrelid::regclass::text, 'statistics ' || quote_ident(s.stxname), pg_get_statisticsobjdef(s.oid)
FROM pg_catalog.pg_statistic_ext s JOIN place ON place.oid = s.stxnamespace
UNION ALL
SELECT r.named, 'publication ' || quote_ident(p.pubname) || ' of ' || r.named, 'member'
FROM pg_catalog.pg_publication_rel m JOIN pg_catalog.pg_publication p ON p.oid = m.prpubid JOIN relation r ON r.oid = m.prrelid
UNION ALL
SELECT '', 'function ' || named,
       concat_ws(' ', pg_get_userbyid(proowner), md5(concat_ws(' ', prosrc, provolatile, prosecdef, proconfig::text,
                                                             coalesce(proacl, acldefault('f', proowner))::text)))
FROM routine
UNION ALL
SELECT r.named, 'comment on ' || r.named || coalesce(' (' || quote_ident(a.attname) || ')', ''), md5(c.description)
FROM pg_catalog.pg_description c JOIN relation r ON r.oid = c.objoid AND c.classoid = 'pg_class'::regclass
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum = c.objsubid AND c.objsubid > 0
