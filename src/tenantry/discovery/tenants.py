"""The tenants, numbered for the census: integers compare, sort and hash fast, whatever type the key has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from tenantry.model.ownership import Ownership, TenantTable
from tenantry.model.schema import Schema

TENANTS = sql.Identifier("pg_temp", "tenantry_tenants")
WORDS = sql.Identifier("pg_temp", "tenantry_words")


def tenants(ownership: Ownership, schema: Schema, columns: Sequence[str]) -> Iterator[sql.Composed]:
    """Statements that create TENANTS: the tenants in the tenant table and those that the spec will create.

    `columns` of the tenant table are kept for the joins. WORDS maps each slug and each key, as text, to its tenant; a
    word that is both is the slug.
    """
    tenant = ownership.tenant
    reserved = dict.fromkeys(slug for slug in (tenant.default, tenant.quarantine, *tenant.slugs) if slug is not None)
    yield sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS {}").format(
        sql.Identifier("tenantry_tenants"), _existing(tenant, schema, columns)
    )
    if reserved:
        yield sql.SQL(
            "INSERT INTO {0} (tenant, label) SELECT (SELECT count(*) FROM {0}) + row_number() OVER (), s.slug"
            " FROM unnest({1}::text[]) AS s (slug)"
            " WHERE NOT EXISTS (SELECT FROM {0} AS t WHERE t.label = s.slug)"
        ).format(TENANTS, sql.Literal(list(reserved)))
    yield sql.SQL("ANALYZE {}").format(TENANTS)
    yield sql.SQL(
        "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT DISTINCT ON (w.word) w.word, w.tenant"
        " FROM (SELECT label AS word, tenant, 1 AS rank FROM {tenants}"
        " UNION ALL SELECT key, tenant, 2 FROM {tenants}) AS w"
        " WHERE w.word IS NOT NULL ORDER BY w.word, w.rank, w.tenant"
    ).format(sql.Identifier("tenantry_words"), tenants=TENANTS)


def numbered(slug: str) -> sql.Composed:
    """The number of the tenant with that slug."""
    return sql.SQL("(SELECT t.tenant FROM {} AS t WHERE t.label = {} ORDER BY t.tenant LIMIT 1)").format(
        TENANTS, sql.Literal(slug)
    )


def key_of(number: sql.Composable) -> sql.Composed:
    """The key, as text, of the tenant with that number; NULL if it is yet to be created."""
    return sql.SQL("(SELECT t.key FROM {} AS t WHERE t.tenant = {})").format(TENANTS, number)


def _existing(tenant: TenantTable, schema: Schema, columns: Sequence[str]) -> sql.Composed:
    table = schema.tables.get(tenant.name)
    if table is None:
        kept = [
            sql.SQL("NULL::{} AS {}").format(sql.SQL(tenant.type), sql.Identifier(f"c{number}"))
            for number, _ in enumerate(columns)
        ]
        return sql.SQL("SELECT {} LIMIT 0").format(
            sql.SQL(", ").join([sql.SQL("0 AS tenant, NULL::text AS label, NULL::text AS key"), *kept])
        )
    shown = tenant.slug if table.column(tenant.slug) is not None else tenant.key
    key = sql.Identifier("t", tenant.key)
    return sql.SQL("SELECT {} FROM {} AS t").format(
        sql.SQL(", ").join(
            [
                sql.SQL("(row_number() OVER (ORDER BY {}))::integer AS tenant").format(key),
                sql.SQL("{}::text AS label, {}::text AS key").format(sql.Identifier("t", shown), key),
                *(
                    sql.SQL("{} AS {}").format(sql.Identifier("t", column), sql.Identifier(f"c{number}"))
                    for number, column in enumerate(columns)
                ),
            ]
        ),
        table.name.identifier,
    )
