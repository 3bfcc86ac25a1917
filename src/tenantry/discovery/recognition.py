"""Which table has one row per tenant: named by the user, or recognised by its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tenantry.discovery.links import Links
from tenantry.errors import UsageError, nearest
from tenantry.model.name import Name
from tenantry.model.schema import Kind, Schema, Table
from tenantry.model.spec import TenantPart
from tenantry.planning.ownership import KEY_TYPES

# From words that mean nothing else to words that often do. The first tier that is there decides.
_TIERS = (
    frozenset({"tenant", "inquilino", "mandant"}),
    frozenset({"organization", "organisation", "organizacao", "org", "company", "empresa", "workspace"}),
    frozenset(
        {
            "account",
            "store",
            "shop",
            "school",
            "escola",
            "loja",
            "clinic",
            "hospital",
            "hotel",
            "restaurant",
            "merchant",
            "franchise",
            "business",
            "municipio",
            "agency",
        }
    ),
)
_SLUGS = ("slug", "subdomain", "code", "codigo", "identifier", "domain", "name", "nome")
_TEXT = ("text", "character varying", "character", "citext")


def recognise(schema: Schema, links: Links, home: str, wanted: str | None) -> Name | None:
    """The tenant table: `wanted`, or the one whose name says so; None where no name does.

    Raises UsageError where the wanted table is not there or cannot be one, and where several could be.
    """
    if wanted is not None:
        return _wanted(schema, home, wanted)
    for tier, words in enumerate(_TIERS):
        found = [
            table.name
            for table in schema.tables.values()
            if _word(table.name.name) in words and _problem(table) is None and not _is_subtype(table)
        ]
        # A store that nothing refers to is no tenant; an organization can be one that is yet to get rows.
        found = [name for name in found if tier < 2 or links.reached(name)]
        if found:
            return _clearest(found, links)
    return None


def barred(schema: Schema, links: Links) -> tuple[Name, str] | None:
    """The table that has the name of a tenant table, and why it cannot be one; None where there is none, or where the
    word often means something else and no other table refers to it."""
    for tier, words in enumerate(_TIERS):
        found = {
            table.name: problem
            for table in schema.tables.values()
            if _word(table.name.name) in words and table.kind is Kind.TABLE and (problem := _problem(table)) is not None
            if tier == 0 or links.reached(table.name)
        }
        if found:
            name = min(found, key=lambda name: (-len(links.reached(name)), name))
            return name, found[name]
    return None


def tenant_part(schema: Schema, links: Links, name: Name | None, home: str) -> TenantPart:
    """[tenant] for the table, or for one still to be made, with the column that most tables have for it."""
    if name is None:
        taken = Name(home, "tenants") in schema.tables or Name(home, "tenants") in schema.views
        return TenantPart(table="tenancies" if taken else "tenants", create=True, column=_column(schema, []))
    table = schema.tables[name]
    key = table.primary_key[0]
    there = [link.columns[0] for link in links.direct(name, key)]
    there = there or _namesakes(schema, table, key)
    return TenantPart(table=shown(name, home), key=key, slug=_slug(table, key), column=_column(schema, there))


def shown(name: Name, home: str) -> str:
    """The name as the spec writes it: without the schema where that is the first."""
    return str(name).removeprefix(str(Name(home, "x")).removesuffix("x")) if name.schema == home else str(name)


def _wanted(schema: Schema, home: str, wanted: str) -> Name:
    name = Name.parse(wanted, schema=home)
    table = schema.tables.get(name)
    if table is None:
        known = [shown(known, home) for known in schema.tables]
        raise UsageError(f"There is no table {name}{nearest(wanted, known)}", remedy="Name another one.")
    problem = _problem(table)
    if problem is not None:
        raise UsageError(f"{name} cannot be the tenant table: {problem}")
    return name


def _problem(table: Table) -> str | None:
    if table.kind is not Kind.TABLE or table.partition_of is not None or table.inherits:
        return "it is no ordinary table"
    if len(table.primary_key) != 1:
        return "its primary key is not one column"
    key = table.column(table.primary_key[0])
    if key is None or key.base_type.partition("(")[0] not in KEY_TYPES:
        return "a tenant key is uuid, an integer or text"
    return None


def _is_subtype(table: Table) -> bool:
    """Its key is another table's: a store that is a kind of partner."""
    return any(set(key.columns) == set(table.primary_key) for key in table.foreign_keys)


def _clearest(found: list[Name], links: Links) -> Name:
    if len(found) == 1:
        return found[0]
    ranked = sorted(found, key=lambda name: (-len(links.reached(name)), name))
    first, second = (len(links.reached(name)) for name in ranked[:2])
    if first < 2 * max(second, 1):
        raise UsageError(
            "Several tables could be the tenant table",
            remedy="Name one with --tenant-table.",
            details=[f"{name}: {len(links.reached(name))} tables lead to it" for name in ranked],
        )
    return ranked[0]


def _word(name: str) -> str:
    """The last word of a name, in the singular: res_companies is about a company."""
    parts = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).replace("-", "_")
    word = [part for part in parts.split("_") if part][-1:] or [""]
    for ending, singular in (("ies", "y"), ("sses", "ss"), ("s", "")):
        if word[0].endswith(ending) and not word[0].endswith("ss") | (word[0] == "business"):
            return word[0].removesuffix(ending) + singular
    return word[0]


def _slug(table: Table, key: str) -> str:
    unique = {unique.columns for unique in table.uniques if not unique.partial}
    texts = {
        column.name.lower(): column.name for column in table.columns if column.base_type.partition("(")[0] in _TEXT
    }
    named = [texts[name] for name in _SLUGS if name in texts]
    return next((name for name in named if (name,) in unique), named[0] if named else key)


def _column(schema: Schema, there: list[str]) -> str:
    if there:
        counts = Counter(there)
        return min(counts, key=lambda name: (-counts[name], name != "tenant_id", name))
    return next(name for name in column_names() if not _taken(schema, name))


def _namesakes(schema: Schema, tenants: Table, key: str) -> list[str]:
    """Columns of other tables that are called after the tenant table and have its key's type, for each time that they
    are there: where no foreign key leads to it, these may."""
    type = next(column.base_type for column in tenants.columns if column.name == key)
    names = {"tenant_id", f"{_word(tenants.name.name)}_id", f"{tenants.name.name}_id"}
    return [
        column.name
        for table in schema.tables.values()
        for column in table.columns
        if table.name != tenants.name and column.name in names and column.base_type == type
    ]


def column_names() -> Iterator[str]:
    """Names for the tenant column, in the order in which they are tried."""
    yield from ("tenant_id", "tenantry_tenant_id")
    number = 2
    while True:
        yield f"tenant_id_{number}"
        number += 1


def _taken(schema: Schema, name: str) -> bool:
    return any(table.column(name) is not None for table in schema.tables.values())
