"""Queries of the catalog by which steps recognise what they have made."""

from __future__ import annotations

from itertools import chain, count

from psycopg import sql

from tenantry.model.name import JOURNAL_SCHEMA, Name, quoted
from tenantry.model.plan import Statement

INDEX_TEXT = sql.SQL(
    "(SELECT CASE WHEN s.spcname IS NULL THEN d.text"
    " ELSE pg_catalog.left(d.text, pg_catalog.length(d.text) - pg_catalog.length(d.tail))"
    " || ' TABLESPACE ' || pg_catalog.quote_ident(s.spcname) || d.tail END"
    " FROM (SELECT pg_catalog.pg_get_indexdef(i.indexrelid) AS text,"
    " COALESCE(' WHERE ' || pg_catalog.pg_get_expr(i.indpred, i.indrelid, false), '') AS tail) AS d,"
    " pg_catalog.pg_class x LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = x.reltablespace"
    " WHERE x.oid = i.indexrelid)"
)
"""The statement that creates the index of pg_index `i`: that of pg_get_indexdef, which leaves out the tablespace."""


def column_definition(table: Name, column: str) -> sql.Composed:
    """The type of a column, no row if it does not exist."""
    return sql.SQL(
        "SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a"
        " WHERE a.attrelid = {} AND a.attname = {} AND NOT a.attisdropped"
    ).format(table.oid, sql.Literal(column))


def not_null_definition(table: Name, column: str) -> sql.Composed:
    """A constant text if the column is NOT NULL."""
    return sql.SQL(
        "SELECT 'not null' FROM pg_catalog.pg_attribute a"
        " WHERE a.attrelid = {} AND a.attname = {} AND a.attnotnull AND NOT a.attisdropped"
    ).format(table.oid, sql.Literal(column))


def constraint_definition(table: Name, name: str, *, validated: bool) -> sql.Composed:
    """A constraint's definition without NOT VALID; with `validated`, only if it is valid."""
    return sql.SQL(
        "SELECT pg_catalog.regexp_replace(pg_catalog.pg_get_constraintdef(c.oid), ' NOT VALID$', '')"
        " FROM pg_catalog.pg_constraint c WHERE c.conrelid = {} AND c.conname = {} AND (c.convalidated OR NOT {})"
    ).format(table.oid, sql.Literal(name), sql.Literal(validated))


def index_definition(index: Name) -> sql.Composed:
    """A valid index's definition."""
    return sql.SQL(
        "SELECT pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i"
        " WHERE i.indexrelid = {} AND i.indisvalid"
    ).format(index.oid)


def trigger_definition(table: Name, name: str) -> sql.Composed:
    """The definition of a trigger that always fires, with the complete text of its function. It leaves out the names of
    both, the table's, and those of the columns in the condition, which others may change."""
    return sql.SQL(
        "SELECT pg_catalog.concat_ws(E'\\n', t.tgtype, t.tgattr::text, t.tgqual IS NULL, t.tgdeferrable,"
        " t.tginitdeferred, t.tgnargs, t.tgoldtable, t.tgnewtable, t.tgenabled, p.prosrc, p.prosecdef,"
        " p.proconfig::text, p.prolang, pg_catalog.pg_get_userbyid(p.proowner))"
        " FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid"
        " WHERE t.tgrelid = {} AND t.tgname = {} AND NOT t.tgisinternal AND t.tgenabled = 'A'"
    ).format(table.oid, sql.Literal(name))


def default_definition(table: Name, column: str) -> sql.Composed:
    """A column's default as text."""
    return sql.SQL(
        "SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
        " WHERE d.adrelid = {} AND a.attname = {}"
    ).format(table.oid, sql.Literal(column))


def with_search_path(search_path: tuple[str, ...]) -> sql.Composed:
    """A condition that is always true. From its evaluation on, the user's triggers, checks and index expressions find
    what they name without a schema, as they do in the application.

    The statement that it is part of was parsed before, with only pg_catalog to find its operators in. pg_temp is put at
    the end: if it were left out, it would come first, and a temporary table of the writer's would hide the user's own.
    `"$user"`, which means another schema in each session, is left out.
    """
    known = [schema for schema in search_path if schema != "$user" and not schema.startswith("pg_temp")]
    first = () if "pg_catalog" in known else ("pg_catalog",)
    path = ", ".join(quoted(schema) for schema in (*first, *known, "pg_temp"))
    return sql.SQL("(SELECT pg_catalog.set_config('search_path', {}, true)) IS NOT NULL").format(sql.Literal(path))


def hand_over(what: sql.Composable, owner: str) -> tuple[Statement, ...]:
    """Make `owner` the owner of an object in tenantry's schema. The role may create objects there only for that moment:
    a role that kept the privilege could create objects that run with the rights of tenantry."""
    foreign = sql.SQL("SELECT current_user <> {}").format(sql.Literal(owner))
    schema, role = sql.Identifier(JOURNAL_SCHEMA), sql.Identifier(owner)
    return (
        Statement(sql=sql.SQL("GRANT USAGE, CREATE ON SCHEMA {} TO {}").format(schema, role), when=foreign),
        Statement(sql=sql.SQL("ALTER {} OWNER TO {}").format(what, role), when=foreign),
        Statement(sql=sql.SQL("REVOKE CREATE ON SCHEMA {} FROM {}").format(schema, role), when=foreign),
    )


def revoke_default_privileges(table: Name) -> sql.Composed:
    """Revoke from all but the owner what default privileges have granted on a table that this transaction has created,
    and on the sequences of its columns."""
    return sql.SQL("DO {}").format(
        body(
            sql.SQL(
                "DECLARE one record; BEGIN FOR one IN SELECT DISTINCT c.oid::regclass AS named, c.relkind, e.grantee"
                " FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) AS e"
                " WHERE (c.oid = {0} OR c.relkind = 'S' AND EXISTS (SELECT FROM pg_catalog.pg_depend d"
                " WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = d.classid"
                " AND d.refobjid = {0})) AND e.grantee <> c.relowner"
                " AND pg_catalog.age(c.xmin) <= pg_catalog.age(pg_catalog.pg_current_xact_id()::pg_catalog.xid) LOOP"
                " EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s', CASE one.relkind WHEN 'S' THEN 'SEQUENCE'"
                " ELSE 'TABLE' END, one.named, CASE one.grantee WHEN 0 THEN 'PUBLIC' ELSE one.grantee::regrole::text"
                " END); END LOOP; END"
            ).format(table.oid)
        )
    )


def count_without_tenant(table: Name, column: str) -> sql.Composed:
    """A query of the number of rows of this relation alone whose tenant column is NULL."""
    return sql.SQL("SELECT pg_catalog.count(*) FROM ONLY {} AS row WHERE row.{} IS NULL").format(
        table.identifier, sql.Identifier(column)
    )


def exists(query: sql.Composable) -> sql.Composed:
    return sql.SQL("SELECT EXISTS ({})").format(query)


def is_partition(table: Name, root: Name) -> sql.Composed:
    """A condition: the table is a partition of `root`, at any level."""
    return sql.SQL("EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors({}) AS above WHERE above.relid = {})").format(
        table.oid, root.oid
    )


def raw(text: str) -> sql.SQL:
    """Text that tenantry or the server made (a tag, pg_get_indexdef) as SQL; names and values only after they are
    quoted."""
    return sql.SQL(text)


def body(text: sql.Composable) -> sql.Composable:
    """A function's body between dollar quotes that do not occur in the body."""
    inside = text.as_string(None)
    tags = chain(["$tenantry$"], (f"$tenantry_{number}$" for number in count(1)))
    tag = next(tag for tag in tags if tag not in inside)
    return raw(f"{tag}{inside}{tag}")


def identifiers(names: tuple[str, ...], qualifier: sql.Composable | None = None) -> sql.Composed:
    """Column names separated by commas; each after `qualifier.` if one is given."""
    if qualifier is None:
        return sql.SQL(", ").join(sql.Identifier(name) for name in names)
    return sql.SQL(", ").join(sql.SQL("{}.{}").format(qualifier, sql.Identifier(name)) for name in names)


def unchanged(names: tuple[str, ...], new: sql.Composable, old: sql.Composable) -> sql.Composed:
    """A condition in a trigger: the new row has the same bytes in these columns as the old one. Not every type has an
    `=` in the pinned search_path."""
    return sql.SQL("ROW({})::record OPERATOR(pg_catalog.*=) ROW({})::record").format(
        identifiers(names, new), identifiers(names, old)
    )
