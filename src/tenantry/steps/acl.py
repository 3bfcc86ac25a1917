"""Access lists: recorded completely and restored entry by entry, each from its grantor and in its place (hazard 16)."""

from __future__ import annotations

from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from tenantry.model.name import Name
from tenantry.steps.introspection import body


def entries(relation: Name) -> sql.Composed:
    """A query of the privileges on a relation and its columns, in their order; an empty grantee means PUBLIC."""
    return sql.SQL(
        "SELECT a.name AS on_column,"
        " (SELECT g.rolname::text FROM pg_catalog.pg_roles g WHERE g.oid = e.grantee) AS grantee,"
        " pg_catalog.pg_get_userbyid(e.grantor)::text AS grantor, pg_catalog.upper(e.privilege_type) AS privilege,"
        " e.is_grantable AS grantable, a.number * 10000 + e.position AS place"
        " FROM (SELECT NULL::text AS name, 0 AS number, c.relacl AS acl FROM pg_catalog.pg_class c WHERE c.oid = {0}"
        " UNION ALL SELECT t.attname::text, t.attnum, t.attacl FROM pg_catalog.pg_attribute t"
        " WHERE t.attrelid = {0} AND t.attacl IS NOT NULL AND NOT t.attisdropped) AS a"
        " CROSS JOIN LATERAL pg_catalog.aclexplode(a.acl) WITH ORDINALITY"
        " AS e(grantor, grantee, privilege_type, is_grantable, position)"
    ).format(relation.oid)


_WANTED = sql.SQL("""
  WITH listed AS (
    SELECT b.* FROM pg_catalog.jsonb_to_recordset(before) AS b(on_column text, grantee text, grantor text,
      privilege text, grantable boolean, place bigint)
    -- A column that is gone has no privileges to get back.
    WHERE b.on_column IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_attribute a
      WHERE a.attrelid = {oid} AND a.attname = b.on_column AND NOT a.attisdropped)
  ), kept AS (
    SELECT * FROM listed WHERE privilege = ANY (revoked) AND {role} IN (grantee, grantor)
      AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles r WHERE r.rolname IN (grantee, grantor))
        = CASE WHEN grantee <> grantor THEN 2 ELSE 1 END
    UNION ALL
    SELECT * FROM ({entries}) AS n
    WHERE NOT (on_column IS NULL AND grantee IS NOT DISTINCT FROM {role} AND grantor = relation_owner
      AND privilege = ANY (ours))
  ), single AS (
    SELECT on_column, grantee, grantor, privilege, pg_catalog.bool_or(grantable) AS grantable,
      pg_catalog.min(place) AS place
    FROM kept GROUP BY 1, 2, 3, 4
  )
  SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(s) ORDER BY s.place / 10000, (
      SELECT pg_catalog.min(l.place) FROM listed l
      WHERE (l.on_column, l.grantee, l.grantor) IS NOT DISTINCT FROM (s.on_column, s.grantee, s.grantor)),
    s.place)
  INTO wanted FROM single AS s;""")
_RESTORE = sql.SQL("""
DECLARE
  before jsonb := {before};
  ours text[] := {ours};
  revoked text[] := {revoked};
  relation_owner text := (SELECT pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c WHERE c.oid = {oid});
  wanted jsonb;
  one record;
BEGIN{wanted}
  IF ours <> '{{}}' THEN
    -- That of a table goes with those of its columns, and what depends on these; they are among the wanted ones.
    EXECUTE pg_catalog.format('REVOKE %s ON %s FROM %I CASCADE', pg_catalog.array_to_string(ours, ', '), {target},
      {role});
  END IF;
  FOR round IN 1..3 LOOP
    FOR one IN
      SELECT w.* FROM {wanted_rows} AS w(on_column, grantee, grantor, privilege, grantable, place, position)
      WHERE NOT EXISTS (SELECT FROM ({entries}) AS n WHERE n.grantable >= w.grantable
        AND (n.on_column, n.grantee, n.grantor, n.privilege)
          IS NOT DISTINCT FROM (w.on_column, w.grantee, w.grantor, w.privilege))
      ORDER BY w.position
    LOOP
      IF one.grantor <> relation_owner THEN
        EXECUTE pg_catalog.format('SET LOCAL ROLE %I', one.grantor);
      END IF;
      EXECUTE pg_catalog.format('GRANT %s%s ON %s TO %s%s', one.privilege,
        ' (' || pg_catalog.quote_ident(one.on_column) || ')',
        {target}, coalesce(pg_catalog.quote_ident(one.grantee), 'PUBLIC'),
        CASE WHEN one.grantable THEN ' WITH GRANT OPTION' END);
      IF one.grantor <> relation_owner THEN
        EXECUTE 'RESET ROLE';
      END IF;
    END LOOP;
    -- What came back is at the end of its list: then all are revoked, and granted again in their order.
    EXIT WHEN round > 1 OR (
      SELECT pg_catalog.array_agg(ROW(n.on_column, n.grantee, n.grantor)::text ORDER BY n.place) FROM ({entries}) AS n
    ) IS NOT DISTINCT FROM (
      SELECT pg_catalog.array_agg(ROW(w.on_column, w.grantee, w.grantor)::text ORDER BY w.position)
      FROM {wanted_rows} AS w(on_column, grantee, grantor, privilege, grantable, place, position)
    );
    FOR one IN SELECT DISTINCT n.grantee FROM ({entries}) AS n WHERE n.grantor = relation_owner LOOP
      EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s CASCADE', {target},
        coalesce(pg_catalog.quote_ident(one.grantee), 'PUBLIC'));
    END LOOP;
  END LOOP;
END
""")
_ROWS = sql.SQL(
    "ROWS FROM (pg_catalog.jsonb_to_recordset(wanted) AS (on_column text, grantee text, grantor text, privilege text,"
    " grantable boolean, place bigint)) WITH ORDINALITY"
)


def restore(
    relation: Name, kind: str, role: str, *, before: list[Any], granted: list[str], revoked: list[str]
) -> sql.Composed:
    """A DO block that restores the privileges of `role` on a relation. It revokes the privileges `granted` by tenantry,
    and grants again the `revoked` privileges that the role had, or had granted to others, when the access list was
    `before`. Privileges that others have granted or revoked since are not changed.

    `kind` is TABLE or SEQUENCE; `before` is the JSON of the rows of `entries`.
    """
    listed = entries(relation)
    target = sql.Literal(f"{kind} {relation.identifier.as_string(None)}")
    wanted = _WANTED.format(role=sql.Literal(role), entries=listed, oid=relation.oid)
    code = _RESTORE.format(
        before=sql.Literal(Jsonb(before)), ours=sql.Literal(granted), revoked=sql.Literal(revoked), oid=relation.oid,
        wanted=wanted, wanted_rows=_ROWS, entries=listed, target=target, role=sql.Literal(role),
    )  # fmt: skip
    return sql.SQL("DO {}").format(body(code))
