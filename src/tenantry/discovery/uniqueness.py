"""Unique constraints across tenants: the second tenant could not use a value that the first has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenantry.discovery.links import Link
from tenantry.discovery.proposal import Constraint
from tenantry.model.schema import Table, Unique

# Values that are usually meant to be unique everywhere: someone who logs in has no tenant yet.
_TEXT = ("text", "character varying", "character", "citext")
_WORLDWIDE = re.compile(r"e_?mail|login|user_?name|token|uuid|guid|api_?key|session|secret|subdomain|domain|host")


def constraints(table: Table, telling: tuple[Link, ...]) -> Iterator[Constraint]:
    """Those of an owned table; `telling` are its links to owned tables or the tenant: a constraint that includes their
    columns can only hold rows of one tenant, and needs no change."""
    for unique in table.uniques:
        columns = set(unique.columns)
        if unique.exclusion or not unique.valid:
            continue
        if any(set(link.columns) <= columns for link in telling):
            continue
        if unique.primary:
            if _is_natural(table, unique):
                yield Constraint(
                    name=unique.name, columns=unique.columns, proposed=False,
                    reason="the primary key stays global: two tenants cannot use the same value",
                )  # fmt: skip
        else:
            yield _choice(table, unique)


def _choice(table: Table, unique: Unique) -> Constraint:
    proposed, reason = True, "may two tenants use the same value? It stays unique for all unless it is listed"
    worldwide = any(
        _WORLDWIDE.search(name.lower()) or ((found := table.column(name)) and found.base_type == "uuid")
        for name in unique.columns
    )
    if unique.referenced:
        proposed, reason = False, "it must stay global: a foreign key depends on it"
    elif not unique.columns:
        proposed, reason = False, "it has an expression: list it if two tenants may use the same value"
    elif worldwide:
        proposed, reason = (
            False,
            (
                "list it if two tenants may use the same value (two accounts of one person);"
                " do not list it if the row is looked up before the tenant is known (a login)"
            ),
        )
    return Constraint(name=unique.name, columns=unique.columns, proposed=proposed, reason=reason)


def _is_natural(table: Table, unique: Unique) -> bool:
    """Whether people, and not the database, choose the values of a key."""
    found = [column for name in unique.columns if (column := table.column(name)) is not None]
    return any(column.base_type.partition("(")[0] in _TEXT and column.default is None for column in found)
