-- name: strangers
-- Whether any relation here belongs to a role that may not do all that the current role may, and as which it may act.
-- Or whether such a role may at any time create a table whose foreign key refers to one that is here.
WITH strangers AS MATERIALIZED (
    SELECT r.oid FROM pg_catalog.pg_roles r
    WHERE NOT pg_catalog.pg_has_role(r.oid, session_user, 'MEMBER')
    AND pg_catalog.pg_has_role(session_user, r.oid, 'USAGE')
    -- pg_database_owner, which stands for the owner of each database, has no other member.
    AND r.oid OPERATOR(pg_catalog.<>) 'pg_database_owner'::pg_catalog.regrole::pg_catalog.oid
), given (privilege, role) AS MATERIALIZED (
    -- Most access lists are equal, so each is expanded once.
    SELECT DISTINCT x.privilege_type, x.grantee
    FROM (SELECT n.nspacl FROM pg_catalog.pg_namespace n
          UNION
          SELECT d.datacl FROM pg_catalog.pg_database d
          WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
          UNION
          SELECT c.relacl FROM pg_catalog.pg_class c
          UNION
          SELECT a.attacl FROM pg_catalog.pg_attribute a) AS l (acl)
    CROSS JOIN LATERAL pg_catalog.aclexplode(l.acl) AS x
    WHERE l.acl IS NOT NULL
    AND x.privilege_type OPERATOR(pg_catalog.=) ANY (ARRAY['CREATE', 'REFERENCES']::pg_catalog.text[])
)
SELECT EXISTS (
    SELECT FROM (SELECT c.relowner FROM pg_catalog.pg_class c UNION SELECT n.nspowner FROM pg_catalog.pg_namespace n
                 UNION SELECT d.datdba FROM pg_catalog.pg_database d
                 WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) AS o (owner)
    WHERE o.owner OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT s.oid FROM strangers s))
) OR EXISTS (
    SELECT FROM strangers s
    WHERE (SELECT pg_catalog.count(DISTINCT g.privilege) OPERATOR(pg_catalog.=) 2::pg_catalog.int8 FROM given g
           WHERE CASE g.role WHEN 0::pg_catalog.oid THEN true ELSE pg_catalog.pg_has_role(s.oid, g.role, 'USAGE') END))

-- name: named
-- The relations that this transaction has locked, as the analysis of a statement locks those that it names, and the
-- roles whose code runs when they are read or written: their owners, and those of partitions, inheritance children, and
-- what views read. And, with each, the role that this session has become by SET ROLE.
WITH RECURSIVE held (relation, writes) AS (
    SELECT l.relation, pg_catalog.bool_or(l.mode OPERATOR(pg_catalog.<>) 'AccessShareLock'::pg_catalog.text)
    FROM pg_catalog.pg_locks l
    WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
    AND l.locktype OPERATOR(pg_catalog.=) 'relation'::pg_catalog.text AND l.relation OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    GROUP BY l.relation
), beneath (relation, part) AS (
    SELECT h.relation, h.relation FROM held h
    UNION
    SELECT b.relation, n.part FROM beneath b CROSS JOIN LATERAL (
        SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) b.part
        UNION ALL
        SELECT d.refobjid FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d
        ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.objid OPERATOR(pg_catalog.=) w.oid
        AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
        WHERE w.ev_class OPERATOR(pg_catalog.=) b.part
    ) AS n (part)
)
SELECT s.nspname, c.relname, c.relpersistence OPERATOR(pg_catalog.=) 't'::pg_catalog."char",
       c.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog."char", h.writes,
       pg_catalog.pg_get_userbyid(c.relowner),
       ARRAY(SELECT DISTINCT pg_catalog.pg_get_userbyid(p.relowner) FROM beneath b
             JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) b.part
             WHERE b.relation OPERATOR(pg_catalog.=) h.relation
             AND NOT pg_catalog.pg_has_role(p.relowner, session_user, 'MEMBER')
             AND pg_catalog.pg_has_role(session_user, p.relowner, 'USAGE'))::pg_catalog.text[],
       NULLIF(pg_catalog.current_setting('role'), 'none')
FROM held h JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) h.relation
JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) c.relnamespace
ORDER BY c.oid

-- name: reached
-- A stranger whose code runs when relations of these names are updated or inserted into, and with $2, deleted from:
-- then foreign keys lead from the written rows to tables of this role, or come from there. And with $3, a trigger of
-- this role that runs after the action of a key, which before PostgreSQL 18 runs as the role that has written.
WITH RECURSIVE held (relation) AS (
    SELECT pg_catalog.to_regclass(n.name)::pg_catalog.oid FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n (name)
), keys (referring, referred, deletes, updates, inherits) AS MATERIALIZED (
    SELECT k.conrelid, k.confrelid, k.confdeltype, k.confupdtype, false
    FROM pg_catalog.pg_constraint k WHERE k.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog."char"
    UNION ALL
    SELECT i.inhrelid, i.inhparent, 'a', 'a', true FROM pg_catalog.pg_inherits i
), written (relation, deleted) AS (
    SELECT h.relation, d.deleted FROM held h
    JOIN (VALUES (false), (true)) AS d (deleted) ON $2::pg_catalog.bool OR NOT d.deleted
    UNION
    SELECT k.referring, w.deleted AND (k.inherits OR k.deletes OPERATOR(pg_catalog.=) 'c'::pg_catalog."char")
    FROM written w JOIN keys k ON k.referred OPERATOR(pg_catalog.=) w.relation
    AND (k.inherits OR CASE WHEN w.deleted THEN k.deletes ELSE k.updates END
         OPERATOR(pg_catalog.=) ANY ('{c,n,d}'::pg_catalog."char"[]))
), touched (relation, written) AS (
    SELECT w.relation, true FROM written w
    UNION
    -- Checking a key reads rows of the other table.
    SELECT CASE WHEN k.referred OPERATOR(pg_catalog.=) w.relation THEN k.referring ELSE k.referred END, false
    FROM written w JOIN keys k ON w.relation OPERATOR(pg_catalog.=) ANY (ARRAY[k.referred, k.referring])
)
SELECT pg_catalog.pg_get_userbyid(c.relowner), f.name
FROM touched r JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.relation
LEFT JOIN LATERAL (
    SELECT pg_catalog.format('%I of %s', t.tgname, t.tgrelid::pg_catalog.regclass) AS name FROM pg_catalog.pg_trigger t
    WHERE t.tgrelid OPERATOR(pg_catalog.=) r.relation AND NOT t.tgisinternal
    AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'::pg_catalog."char" AND r.written AND $3::pg_catalog.bool
    -- Neither BEFORE nor INSTEAD OF.
    AND t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 66 OPERATOR(pg_catalog.=) 0
    ORDER BY t.tgname LIMIT 1
) AS f ON true
WHERE NOT pg_catalog.pg_has_role(c.relowner, session_user, 'MEMBER')
AND pg_catalog.pg_has_role(session_user, c.relowner, 'USAGE')
ORDER BY f.name NULLS LAST, c.oid LIMIT 1

-- name: columns
-- The columns of the table $1, each with whether a foreign key changes other tables when it changes, including keys on
-- an inheritance child. And whether only an assignment to them can change them: no generated column is among them, and
-- no row moves to another partition.
WITH RECURSIVE tree (oid) AS (
    SELECT pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid
    UNION
    SELECT i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid
), keys (name, generated) AS (
    SELECT a.attname, a.attgenerated OPERATOR(pg_catalog.<>) ''::pg_catalog."char"
    FROM tree t JOIN pg_catalog.pg_constraint k ON k.confrelid OPERATOR(pg_catalog.=) t.oid
    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.oid
    AND a.attnum OPERATOR(pg_catalog.=) ANY (k.confkey)
    WHERE k.confupdtype OPERATOR(pg_catalog.=) ANY ('{c,n,d}'::pg_catalog."char"[])
), columns (attnum, attname) AS (
    SELECT a.attnum, a.attname FROM pg_catalog.pg_attribute a
    WHERE a.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1::pg_catalog.text)
    AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped
)
SELECT ARRAY(SELECT a.attname::pg_catalog.text FROM columns a ORDER BY a.attnum),
       ARRAY(SELECT EXISTS (SELECT FROM keys k WHERE k.name OPERATOR(pg_catalog.=) a.attname) FROM columns a
             ORDER BY a.attnum),
       c.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog."char" AND NOT EXISTS (SELECT FROM keys k WHERE k.generated)
FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1::pg_catalog.text)

-- name: written_out
-- The relations of these names, as SQL writes them, and whether the code of their owner may not run as the current
-- role.
SELECT s.nspname, c.relname, c.relpersistence OPERATOR(pg_catalog.=) 't'::pg_catalog."char",
       c.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog."char", pg_catalog.pg_get_userbyid(c.relowner),
       NOT pg_catalog.pg_has_role(c.relowner, session_user, 'MEMBER')
       AND pg_catalog.pg_has_role(session_user, c.relowner, 'USAGE')
FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY AS n (name, place)
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(n.name)
JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
ORDER BY n.place

-- name: mixed
-- Whether tables of these names have partitions, or inheritance children, that the role $2 may not alter, and a CHECK
-- constraint of theirs that uses functions that are not PostgreSQL's own.
WITH RECURSIVE tree (oid) AS (
    SELECT pg_catalog.to_regclass(n.name)::pg_catalog.oid FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n (name)
    UNION
    SELECT i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid
)
SELECT pg_catalog.bool_or(NOT pg_catalog.pg_has_role($2::pg_catalog.name, c.relowner, 'USAGE')),
       (SELECT k.conname FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_depend d
        ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass
        AND d.objid OPERATOR(pg_catalog.=) k.oid AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
        AND d.refclassid OPERATOR(pg_catalog.=) ANY (ARRAY['pg_catalog.pg_proc', 'pg_catalog.pg_operator',
            'pg_catalog.pg_type']::pg_catalog.regclass[])
        WHERE k.contype OPERATOR(pg_catalog.=) 'c'::pg_catalog."char"
        AND k.conrelid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT t.oid FROM tree t))
        ORDER BY k.oid LIMIT 1)
FROM tree t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid

-- name: keyed
-- A stranger's partitioned table or index among those of these names, their parents, and their parts, whose key uses
-- functions that are not PostgreSQL's own.
WITH RECURSIVE up (oid) AS (
    SELECT pg_catalog.to_regclass(n.name)::pg_catalog.oid FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n (name)
    UNION
    SELECT i.inhparent FROM up u JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) u.oid
), tree (oid) AS (
    SELECT u.oid FROM up u
    UNION
    SELECT i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid
)
SELECT c.oid FROM tree t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid
JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
AND d.objid OPERATOR(pg_catalog.=) t.oid AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
AND d.refclassid OPERATOR(pg_catalog.=)
    ANY (ARRAY['pg_catalog.pg_proc', 'pg_catalog.pg_operator']::pg_catalog.regclass[])
WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{p,i,I}'::pg_catalog."char"[])
AND NOT pg_catalog.pg_has_role(c.relowner, session_user, 'MEMBER')
AND pg_catalog.pg_has_role(session_user, c.relowner, 'USAGE')
LIMIT 1

-- name: loose
-- The strangers' tables among the relations of these names, and below them those that have partitions, on which this
-- transaction holds no lock that keeps others from changing their names, their parts or their indexes.
WITH RECURSIVE tree (oid, named) AS (
    SELECT pg_catalog.to_regclass(n.name)::pg_catalog.oid, true FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n (name)
    UNION
    SELECT i.inhrelid, false FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid
)
SELECT pg_catalog.format('%I.%I', s.nspname, c.relname)
FROM tree t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid
JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE (c.relkind OPERATOR(pg_catalog.=) 'p'::pg_catalog."char"
       OR t.named AND c.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog."char")
AND NOT pg_catalog.pg_has_role(c.relowner, session_user, 'MEMBER')
AND pg_catalog.pg_has_role(session_user, c.relowner, 'USAGE')
AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_locks l
    WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.granted
    AND l.locktype OPERATOR(pg_catalog.=) 'relation'::pg_catalog.text AND l.relation OPERATOR(pg_catalog.=) c.oid
    AND l.mode OPERATOR(pg_catalog.<>)
        ALL (ARRAY['AccessShareLock', 'RowShareLock', 'RowExclusiveLock']::pg_catalog.text[]))

-- name: referred
-- The foreign keys of these tables, and of their parts, that are not validated yet, and the tables to which they refer.
WITH RECURSIVE own (oid) AS (
    SELECT pg_catalog.to_regclass(n.name)::pg_catalog.oid FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n (name)
    UNION
    SELECT i.inhrelid FROM own o JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) o.oid
)
SELECT k.conname, pg_catalog.format('%I.%I', s.nspname, c.relname)
FROM own o JOIN pg_catalog.pg_constraint k ON k.conrelid OPERATOR(pg_catalog.=) o.oid
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.confrelid
JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE k.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog."char" AND NOT k.convalidated

-- name: planned
-- A stranger's table among those of these names, and its owner, if planning it, or its parts, uses functions that are
-- not PostgreSQL's own.
WITH RECURSIVE tree (name, oid) AS (
    SELECT n.name, pg_catalog.to_regclass(n.name)::pg_catalog.oid
    FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n (name)
    UNION
    SELECT t.name, i.inhrelid FROM tree t
    JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid
), planned (name, owner, class, oid) AS (
    SELECT t.name, c.relowner, n.class, n.oid
    FROM tree t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid
    CROSS JOIN LATERAL (
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid
        UNION ALL
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid FROM pg_catalog.pg_index i
        WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid
        UNION ALL
        SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid FROM pg_catalog.pg_constraint k
        WHERE k.conrelid OPERATOR(pg_catalog.=) c.oid AND k.contype OPERATOR(pg_catalog.=) 'c'::pg_catalog."char"
        UNION ALL
        SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid FROM pg_catalog.pg_statistic_ext s
        WHERE s.stxrelid OPERATOR(pg_catalog.=) c.oid
    ) AS n (class, oid)
    WHERE NOT pg_catalog.pg_has_role(c.relowner, session_user, 'MEMBER')
    AND pg_catalog.pg_has_role(session_user, c.relowner, 'USAGE')
)
SELECT p.name, pg_catalog.pg_get_userbyid(p.owner)
FROM planned p JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) p.class
AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.refobjid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
AND d.refclassid OPERATOR(pg_catalog.=)
    ANY (ARRAY['pg_catalog.pg_proc', 'pg_catalog.pg_operator']::pg_catalog.regclass[])
ORDER BY p.name, p.oid LIMIT 1

-- name: before
-- What is needed to call a statement as the role $3: its types, of $1 with the modifiers $2, the session's settings,
-- the current role, whether a policy of tenantry's, $4, lets the role see all rows, and whether the role may read each
-- of the relations $5 as it is.
SELECT ARRAY(SELECT pg_catalog.format_type(t.type, t.modifier)
             FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.int4[])) WITH ORDINALITY
             AS t (type, modifier, place) ORDER BY t.place),
       (SELECT pg_catalog.jsonb_object_agg(s.name, s.setting) FROM pg_catalog.pg_settings s
        WHERE s.context OPERATOR(pg_catalog.=) ANY (ARRAY['user', 'superuser']::pg_catalog.text[])
        AND s.category OPERATOR(pg_catalog.<>) 'Customized Options'::pg_catalog.text
        AND s.name OPERATOR(pg_catalog.!~~) 'transaction\_%'::pg_catalog.text)::pg_catalog.text,
       pg_catalog.current_setting('role'),
       EXISTS (SELECT FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_roles r
               ON r.oid OPERATOR(pg_catalog.=) ANY (p.polroles)
               WHERE p.polname OPERATOR(pg_catalog.=) $4::pg_catalog.name AND r.rolname OPERATOR(pg_catalog.=) $3::pg_catalog.name),
       ARRAY(SELECT pg_catalog.has_schema_privilege($3::pg_catalog.name, c.relnamespace, 'USAGE')
                    AND pg_catalog.has_table_privilege($3::pg_catalog.name, c.oid, 'SELECT') AND NOT c.relrowsecurity
             FROM pg_catalog.unnest($5::pg_catalog.text[]) WITH ORDINALITY AS n (name, place)
             JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(n.name)
             ORDER BY n.place)

-- name: settings
-- Restores what the statement has set for the session. It may have set the search path.
SELECT pg_catalog.set_config(s.name, w.value, false)
FROM pg_catalog.jsonb_each_text($1::pg_catalog.text::pg_catalog.jsonb) AS w (name, value)
JOIN pg_catalog.pg_settings s ON s.name OPERATOR(pg_catalog.=) w.name
WHERE s.setting OPERATOR(pg_catalog.<>) w.value

-- name: left_behind
-- Before PostgreSQL 18 a trigger that is deferred to the end of a transaction runs as the role that ends it. All of
-- them have been run, but a trigger may have deferred more. An ALTER TABLE that is rolled back shows whether a table
-- has any.
DO $left_behind$
DECLARE
    deferred pg_catalog.regclass;
BEGIN
    FOR deferred IN
        SELECT DISTINCT t.tgrelid::pg_catalog.regclass
        FROM pg_catalog.pg_trigger t
        LEFT JOIN pg_catalog.pg_constraint c ON c.oid OPERATOR(pg_catalog.=) t.tgconstraint
        WHERE t.tgdeferrable
        AND (NOT t.tgisinternal OR c.contype OPERATOR(pg_catalog.=) 'x'::pg_catalog."char")
    LOOP
        BEGIN
            EXECUTE pg_catalog.format('ALTER TABLE %s VALIDATE CONSTRAINT "~tenantry: there is none"', deferred);
        EXCEPTION WHEN undefined_object THEN
            NULL;
        END;
    END LOOP;
END
$left_behind$
