"""Which table has one row per tenant: named by the user, or recognised by its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tenantry.discovery.links import Links
from tenantry.errors import UsageError, nearest
from tenantry.model.name import Name
from tenantry.model.schema import Kind, Schema, Table
from tenantry.model.spec import TenantPart
from tenantry.model.wording import counted
from tenantry.planning.ownership import KEY_TYPES

# From words with a single meaning to words that often mean something else. The first tier with a match decides.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A table whose name is that of a tenant table: how clear the word is, what contradicts it (empty if nothing does),
    how many tables lead to it and how many of them directly, and its rows as PostgreSQL estimates them."""

    table: Name
    tier: int
    problem: str
    reached: frozenset[Name]
    direct: int
    rows: int

    @property
    def evidence(self) -> str:
        """The evidence for it and against it, in a sentence."""
        rows = f", about {counted(int(self.rows), 'row')}" if self.rows else ""
        said = f"{self.table}: {len(self.reached)} tables lead to it, {self.direct} of them directly{rows}"
        return f"{said}; it cannot be used: {self.problem}" if self.problem else said


def candidates(schema: Schema, links: Links) -> tuple[Candidate, ...]:
    """The tables whose name could be a tenant table's, those of clearer words first."""
    found = []
    for table in schema.tables.values():
        word = _word(table.name.name)
        tier = next((number for number, words in enumerate(_TIERS) if word in words), None)
        if tier is not None and table.name in links.tables and not _is_subtype(table):
            reached = frozenset(links.reached(table.name))
            direct = len({link.table for link in links.down[table.name] if not link.itself})
            rows = max(0, round(table.rows))
            found.append(
                Candidate(
                    table=table.name,
                    tier=tier,
                    problem=_problem(table) or "",
                    reached=reached,
                    direct=direct,
                    rows=rows,
                )
            )
    return tuple(sorted(found, key=lambda one: (one.tier, -len(one.reached), one.table)))


def recognise(schema: Schema, links: Links, home: str, requested: str | None) -> Name | None:
    """The tenant table: `requested`, or the one with a matching name; None if no name matches.

    Raises UsageError if the wanted table does not exist or cannot be one, and if several could be.
    """
    if requested is not None:
        return _named_table(schema, home, requested)
    # A store to which nothing refers is no tenant; an organization can be one that has no rows yet.
    found = [one for one in candidates(schema, links) if not one.problem and (one.tier < 2 or one.reached)]
    return _clearest(found) if found else None


def tenant_part(schema: Schema, links: Links, name: Name | None, home: str) -> TenantPart:
    """[tenant] for the table, or for one still to be created, with the column that most tables have for it."""
    if name is None:
        taken = Name(home, "tenants") in schema.tables or Name(home, "tenants") in schema.views
        return TenantPart(table="tenancies" if taken else "tenants", create=True, column=_column(schema, []))
    table = schema.tables[name]
    key = table.primary_key[0]
    existing = [link.columns[0] for link in links.direct(name, key)]
    column = _column(schema, existing or _undeclared(schema, table))
    return TenantPart(table=shown(name, home), key=key, slug=_slug(table, key), column=column)


def _undeclared(schema: Schema, tenant: Table) -> list[str]:
    """The columns named after the tenant table, of its key's type, that no foreign key declares."""
    key = tenant.column(tenant.primary_key[0])
    names = {f"{_word(tenant.name.name)}_{tenant.primary_key[0]}", f"{_word(tenant.name.name)}_id", "tenant_id"}
    return [
        column.name
        for table in schema.tables.values()
        for column in table.columns
        if table.name != tenant.name and key is not None and column.name.lower() in names
        and column.base_type == key.base_type
    ]  # fmt: skip


def shown(name: Name, home: str) -> str:
    """The name as the spec writes it: without the schema if that is the first."""
    return str(name).removeprefix(str(Name(home, "x")).removesuffix("x")) if name.schema == home else str(name)


def _named_table(schema: Schema, home: str, requested: str) -> Name:
    name = Name.parse(requested, schema=home)
    table = schema.tables.get(name)
    if table is None:
        known = [shown(known, home) for known in schema.tables]
        raise UsageError(f"The table {name} does not exist{nearest(requested, known)}", remedy="Choose another one.")
    problem = _problem(table)
    if problem is not None:
        raise UsageError(f"{name} cannot be the tenant table: {problem}")
    return name


def _problem(table: Table) -> str | None:
    if table.kind is not Kind.TABLE or table.partition_of is not None or table.inherits:
        return "it is not an ordinary table"
    if len(table.primary_key) != 1:
        return "its primary key does not have exactly one column"
    key = table.column(table.primary_key[0])
    if key is None or key.base_type.partition("(")[0] not in KEY_TYPES:
        return "its key is not a uuid, an integer or text"
    return None


def _is_subtype(table: Table) -> bool:
    """Its key refers to another table's key: a store that is a kind of partner."""
    return any(set(key.columns) == set(table.primary_key) for key in table.foreign_keys)


def _clearest(found: list[Candidate]) -> Name:
    """The first candidate, if no other is close: one that itself leads to the first belongs to its tenants, and one to
    which fewer than half as many tables lead is something else."""
    first, *others = found
    rivals = [
        one for one in others if one.table not in first.reached and 2 * max(len(one.reached), 1) > len(first.reached)
    ]
    # A clear word to which nothing refers yet, without another candidate.
    if rivals and (first.reached or any(one.reached for one in rivals)):
        raise UsageError(
            "Several tables could be the tenant table",
            remedy="Choose one with --tenant-table.",
            details=[one.evidence for one in (first, *rivals)],
        )
    return first.table


def _word(name: str) -> str:
    """The last word of a name, in the singular: res_companies gives company."""
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


def _column(schema: Schema, existing: list[str]) -> str:
    if existing:
        counts = Counter(existing)
        return min(counts, key=lambda name: (-counts[name], name != "tenant_id", name))
    return next(name for name in column_names() if not _exists(schema, name))


def column_names() -> Iterator[str]:
    """Names for the tenant column, in the order in which they are tried."""
    yield from ("tenant_id", "tenantry_tenant_id")
    number = 2
    while True:
        yield f"tenant_id_{number}"
        number += 1


def _exists(schema: Schema, name: str) -> bool:
    return any(table.column(name) is not None for table in schema.tables.values())
