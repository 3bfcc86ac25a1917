"""SQL that turns a distributed table into a plain one again, with what Citus does not restore.

`undistribute_table` makes a new table, and drops the old one with everything that depends on it. It creates views
again, but without their privileges, and no comments or options of columns; since PostgreSQL 18 the NOT NULL constraints
get other names. All of this is read from the catalog and restored in the same transaction, as are the OIDs in the
journal, by which tables are found that others have renamed.
"""

from __future__ import annotations

from psycopg import sql

from tenantry.model.name import Name
from tenantry.steps.introspection import body

_AFFECTED = sql.SQL("""
WITH RECURSIVE affected(oid) AS (
  SELECT {oid}::pg_catalog.oid
  UNION
  SELECT r.ev_class
  FROM affected AS a
  JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = a.oid
    AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.deptype = 'n'
  JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
  JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind = 'v'
)""")
"""A table, and the views that depend on it."""

_DEPENDENTS = sql.SQL("""{affected}
SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
FROM affected AS a
JOIN pg_catalog.pg_class c ON c.oid = a.oid
JOIN pg_catalog.pg_depend d ON d.deptype IN ('n', 'a') AND (
  d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = a.oid
  OR d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid IN (
    SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typrelid = a.oid
    UNION ALL SELECT t.typarray FROM pg_catalog.pg_type t WHERE t.typrelid = a.oid))
WHERE CASE d.classid::pg_catalog.regclass::pg_catalog.text
  WHEN 'pg_rewrite' THEN NOT EXISTS (
    SELECT FROM pg_catalog.pg_rewrite r WHERE r.oid = d.objid AND r.rulename = '_RETURN'
      AND r.ev_class IN (SELECT x.oid FROM affected AS x))
  WHEN 'pg_attrdef' THEN NOT EXISTS (
    SELECT FROM pg_catalog.pg_attrdef f WHERE f.oid = d.objid AND f.adrelid = {oid})
  WHEN 'pg_constraint' THEN NOT EXISTS (
    SELECT FROM pg_catalog.pg_constraint k WHERE k.oid = d.objid AND (k.conrelid = {oid} OR k.contype = 'f'))
  WHEN 'pg_policy' THEN NOT EXISTS (
    SELECT FROM pg_catalog.pg_policy p WHERE p.oid = d.objid AND p.polrelid = {oid})
  WHEN 'pg_statistic_ext' THEN NOT EXISTS (
    SELECT FROM pg_catalog.pg_statistic_ext s WHERE s.oid = d.objid AND s.stxrelid = {oid})
  WHEN 'pg_trigger' THEN EXISTS (
    SELECT FROM pg_catalog.pg_trigger g WHERE g.oid = d.objid AND NOT g.tgisinternal AND g.tgrelid <> {oid})
  WHEN 'pg_class' THEN NOT EXISTS (
    SELECT FROM pg_catalog.pg_class o WHERE o.oid = d.objid AND (o.relkind IN ('i', 'S')))
  WHEN 'pg_publication_rel' THEN false
  ELSE true
END
ORDER BY 1""")

_COMMANDS = sql.SQL("""{affected}, commented(place, command) AS (
  -- Tables and views, their columns, and what belongs to the table.
  SELECT 1, pg_catalog.format('COMMENT ON %s %s IS %L',
           CASE WHEN o.objsubid > 0 THEN 'COLUMN' WHEN c.relkind = 'v' THEN 'VIEW' ELSE 'TABLE' END,
           pg_catalog.format('%I.%I', n.nspname, c.relname)
             || COALESCE('.' || pg_catalog.quote_ident(t.attname), ''), o.description)
  FROM affected AS a
  JOIN pg_catalog.pg_class c ON c.oid = a.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_description o ON o.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.objoid = a.oid
  LEFT JOIN pg_catalog.pg_attribute t ON t.attrelid = a.oid AND t.attnum = o.objsubid AND o.objsubid > 0
  UNION ALL
  SELECT 2, pg_catalog.format('COMMENT ON INDEX %I.%I IS %L', n.nspname, c.relname, o.description)
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_description o ON o.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND o.objoid = c.oid
  WHERE i.indrelid = {oid}
  UNION ALL
  SELECT 2, pg_catalog.format('COMMENT ON CONSTRAINT %I ON %s IS %L', k.conname, {oid}, o.description)
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_description o ON o.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND o.objoid = k.oid
  WHERE k.conrelid = {oid}
  UNION ALL
  SELECT 2, pg_catalog.format('COMMENT ON POLICY %I ON %s IS %L', p.polname, {oid}, o.description)
  FROM pg_catalog.pg_policy p
  JOIN pg_catalog.pg_description o ON o.classoid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND o.objoid = p.oid
  WHERE p.polrelid = {oid}
  UNION ALL
  SELECT 2, pg_catalog.format('COMMENT ON STATISTICS %I.%I IS %L', n.nspname, s.stxname, o.description)
  FROM pg_catalog.pg_statistic_ext s
  JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
  JOIN pg_catalog.pg_description o ON o.classoid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass
    AND o.objoid = s.oid
  WHERE s.stxrelid = {oid}
{options}), granted(name, place, command) AS (
  -- Each privilege of a view, in its order, from the role that has granted it.
  SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), e.number * 10000 + e.position,
         CASE WHEN e.grantor <> c.relowner
              THEN pg_catalog.format('SET LOCAL ROLE %I; ', pg_catalog.pg_get_userbyid(e.grantor)) ELSE '' END
         || pg_catalog.format('GRANT %s%s ON %I.%I TO %s%s', e.privilege_type,
              ' (' || pg_catalog.quote_ident(e.name) || ')', n.nspname, c.relname,
              CASE WHEN e.grantee = 0 THEN 'PUBLIC'
                   ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) END,
              CASE WHEN e.is_grantable AND e.grantee <> c.relowner THEN ' WITH GRANT OPTION' ELSE '' END)
         || CASE WHEN e.grantor <> c.relowner THEN '; RESET ROLE' ELSE '' END
  FROM affected AS a
  JOIN pg_catalog.pg_class c ON c.oid = a.oid AND c.relkind = 'v'
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL (
    SELECT NULL::pg_catalog.text AS name, 0 AS number, x.* FROM pg_catalog.aclexplode(c.relacl) WITH ORDINALITY
      AS x(grantor, grantee, privilege_type, is_grantable, position)
    UNION ALL
    SELECT t.attname::pg_catalog.text, t.attnum, x.* FROM pg_catalog.pg_attribute t
    CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) WITH ORDINALITY
      AS x(grantor, grantee, privilege_type, is_grantable, position)
    WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL AND NOT t.attisdropped
  ) AS e
)
SELECT ARRAY(
  SELECT command FROM commented
  UNION ALL (SELECT g.command FROM granted AS g ORDER BY g.name, g.place)
)""")

_WITH_OPTIONS = sql.SQL("""
  SELECT t.attname AS name, (
    SELECT pg_catalog.string_agg(pg_catalog.format('%I = %L', o.option_name, o.option_value), ', ')
    FROM pg_catalog.pg_options_to_table(t.attoptions) AS o) AS options
  FROM pg_catalog.pg_attribute t
  WHERE t.attrelid = {oid} AND t.attnum > 0 AND NOT t.attisdropped AND t.attoptions IS NOT NULL""")
"""The columns of a table that have options, such as n_distinct, with these as SQL."""

_OPTIONS = sql.SQL("""
  UNION ALL
  SELECT 2, pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', {oid}, t.name, t.options)
  FROM ({columns}) AS t
""")

_RECREATE = sql.SQL("""
DECLARE
  relation CONSTANT pg_catalog.text := {name};
  others pg_catalog.text[];
  commands pg_catalog.text[];
  not_null pg_catalog.jsonb;
  known pg_catalog.jsonb;
  columns pg_catalog.jsonb;
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
  one record;
BEGIN
  others := ARRAY({dependents});
  IF others <> '{{}}' THEN
    RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist',
      MESSAGE = pg_catalog.format('{function} would drop what depends on %s: %s', relation,
        pg_catalog.array_to_string(others, ', '));
  END IF;
  commands := ({commands});
  not_null := (SELECT pg_catalog.jsonb_object_agg(a.attname, k.conname) FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    WHERE k.conrelid = {oid} AND k.contype = 'n');
  -- The table and its views get other OIDs, and columns may get other numbers.
  known := ({affected} SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('oid', a.oid::pg_catalog.int8,
    'name', pg_catalog.format('%I.%I', n.nspname, c.relname))) FROM affected AS a
    JOIN pg_catalog.pg_class c ON c.oid = a.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace);
  columns := ({affected} SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('oid', a.oid::pg_catalog.int8,
    'was', k.attnum, 'noted', k.name, 'now', t.attname)) FROM affected AS a
    JOIN tenantry.columns k ON k.relation::pg_catalog.oid = a.oid
    JOIN pg_catalog.pg_attribute t ON t.attrelid = a.oid AND t.attnum = k.attnum AND NOT t.attisdropped);
  {count_before}
  PERFORM pg_catalog.{function}(relation::pg_catalog.regclass);
  {compare}
  FOR one IN
    SELECT a.attname, k.conname AS now, not_null ->> a.attname AS was FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    WHERE k.conrelid = relation::pg_catalog.regclass AND k.contype = 'n' AND k.conname <> not_null ->> a.attname
  LOOP
    EXECUTE pg_catalog.format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', relation, one.now, one.was);
  END LOOP;
  -- Privileges of views that default privileges have granted.
  FOR one IN
    SELECT DISTINCT k.name, e.grantee FROM pg_catalog.jsonb_to_recordset(known) AS k(name text)
    JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(k.name) AND c.relkind = 'v'
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s', one.name,
      CASE WHEN one.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(one.grantee)) END);
  END LOOP;
  FOR one IN SELECT command FROM pg_catalog.unnest(commands) AS command LOOP
    EXECUTE one.command;
  END LOOP;
  UPDATE tenantry.steps AS s SET relation = pg_catalog.to_regclass(k.name)
  FROM pg_catalog.jsonb_to_recordset(known) AS k(oid pg_catalog.int8, name text)
  WHERE s.relation::pg_catalog.oid = k.oid::pg_catalog.oid;
  DELETE FROM tenantry.columns AS c USING pg_catalog.jsonb_to_recordset(known) AS k(oid pg_catalog.int8)
  WHERE c.relation::pg_catalog.oid = k.oid::pg_catalog.oid;
  INSERT INTO tenantry.columns (relation, attnum, name)
  SELECT pg_catalog.to_regclass(k.name), t.attnum, c.noted
  FROM pg_catalog.jsonb_to_recordset(known) AS k(oid pg_catalog.int8, name text)
  JOIN pg_catalog.jsonb_to_recordset(COALESCE(columns, '[]')) AS c(oid pg_catalog.int8, noted text, now text)
    ON c.oid = k.oid
  JOIN pg_catalog.pg_attribute t ON t.attrelid = pg_catalog.to_regclass(k.name)::pg_catalog.oid AND t.attname = c.now;
END
""")


_COUNT_BEFORE = sql.SQL("EXECUTE {sums} INTO rows_before;")
_COMPARE = sql.SQL("""EXECUTE {sums} INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', relation, rows_before, rows_after;
  END IF;""")


def row_sums(relation: sql.Composable) -> sql.Composed:
    """A query of one text: the number of rows of a relation, and the sum of their hashes."""
    return sql.SQL(
        "SELECT ROW(pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)))"
        "::pg_catalog.text FROM {} AS t"
    ).format(relation)


def sums(table: Name) -> sql.Literal:
    """The text of `row_sums` of a table."""
    return sql.Literal(row_sums(table.identifier).as_string(None))


def _affected(table: Name) -> sql.Composed:
    return _AFFECTED.format(oid=table.oid)


def dependents(table: Name) -> sql.Composed:
    """A query of what others have built on a table, or on views of it, that `undistribute_table` would drop and not
    create again; as the catalog describes it."""
    return _DEPENDENTS.format(oid=table.oid, affected=_affected(table))


def undistribution(table: Name) -> sql.Composed:
    """A DO block that turns a distributed table into a plain one, and restores what Citus loses."""
    return _recreation(
        table, "undistribute_table", _COUNT_BEFORE.format(sums=sums(table)), _COMPARE.format(sums=sums(table)),
        _OPTIONS.format(oid=table.oid, columns=_WITH_OPTIONS.format(oid=table.oid)),
    )  # fmt: skip


def single_shard(table: Name) -> sql.Composed:
    """A DO block that turns a plain table into one with a single shard, which is the plain table under another name,
    and restores what Citus loses. No row is moved. Options of columns cannot be set on a table that Citus has."""
    nothing = sql.SQL("")
    return _recreation(table, "citus_add_local_table_to_metadata", nothing, nothing, nothing)


def column_options(table: Name) -> sql.Composed:
    """A query of one JSON object: by column, its options as SQL."""
    columns = _WITH_OPTIONS.format(oid=table.oid)
    return sql.SQL("SELECT pg_catalog.jsonb_object_agg(t.name, t.options) FROM ({}) AS t").format(columns)


def _recreation(
    table: Name, function: str, before: sql.Composable, after: sql.Composable, options: sql.Composable
) -> sql.Composed:
    code = _RECREATE.format(
        name=sql.Literal(table.identifier.as_string(None)), oid=table.oid, dependents=dependents(table),
        commands=_COMMANDS.format(oid=table.oid, affected=_affected(table), options=options), affected=_affected(table),
        function=sql.SQL(function), count_before=before, compare=after,
    )  # fmt: skip
    return sql.SQL("DO {}").format(body(code))
