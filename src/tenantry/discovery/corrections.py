"""Statements that would resolve a conflict: rows whose two paths lead to two tenants are changed to agree with one of
them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from tenantry.discovery.lookups import TenantLookup, compared, lookups
from tenantry.model.evidence import PathKind
from tenantry.model.name import Name
from tenantry.model.ownership import Owned, Ownership, Path
from tenantry.model.schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class PathCorrection:
    """How the rows that disagree would be changed to follow `right` in place of `wrong`, both given by their labels.
    `statement` is None if only a person can decide, and `reason` gives the cause."""

    wrong: str
    right: str
    statement: str | None
    reason: str = ""


class _Unknown(Exception):
    """The tenant of a path cannot be found by joins alone, and why."""


def correction(
    wrong: TenantLookup, right: TenantLookup, owned: Owned, ownership: Ownership, schema: Schema
) -> PathCorrection:
    """The statement that changes the rows on the path `wrong` to the tenant of `right`. It sets only columns of the
    user's."""
    try:
        statement, reason = _statement(wrong, right, owned, ownership, schema), ""
    except _Unknown as unknown:
        statement, reason = None, str(unknown)
    return PathCorrection(wrong=wrong.label, right=right.label, statement=statement, reason=reason)


def _statement(wrong: TenantLookup, right: TenantLookup, owned: Owned, ownership: Ownership, schema: Schema) -> str:
    table = schema.tables[owned.table]
    if not table.primary_key:
        raise _Unknown(f"{owned.table} has no primary key to identify its rows by")
    if wrong.kind is PathKind.CHILD or right.kind is PathKind.CHILD:
        raise _Unknown("its children would have to refer to another row, or belong to another one")
    right_ends, wrong_ends = _Ends(ownership, schema, "a"), _Ends(ownership, schema, "b")
    other, mine = right_ends.key(right, "r"), wrong_ends.key(wrong, "r")
    if _is_key(wrong, ownership):
        (column,) = wrong.columns
        changes = sql.SQL("{} = s.tenant").format(sql.Identifier(column))
    elif wrong.path is not None and wrong.path.hops[0].nullable:
        changes = sql.SQL(", ").join(sql.SQL("{} = NULL").format(sql.Identifier(one)) for one in wrong.columns)
    else:
        raise _Unknown(f"{', '.join(wrong.columns)} must refer to another row, and only a person can tell which")
    keys = table.primary_key
    return (
        sql.SQL("UPDATE {} AS t SET {} FROM (SELECT {}, {} AS tenant FROM {} AS r{} WHERE {}) AS s WHERE {}")
        .format(
            owned.table.identifier, changes,
            sql.SQL(", ").join(sql.Identifier("r", key) for key in keys), other, owned.table.identifier,
            sql.SQL("").join(sql.SQL(" JOIN {}").format(join) for join in (*right_ends.joins, *wrong_ends.joins)),
            sql.SQL("NOT {}").format(compared(mine, other, ownership.tenant.key_operator)),
            sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier("t", key), sql.Identifier("s", key)) for key in keys
            ),
        )
        .as_string(None)
    )  # fmt: skip


def _is_key(lookup: TenantLookup, ownership: Ownership) -> bool:
    """Whether the column of the path holds the tenant's key itself."""
    hops = () if lookup.path is None else lookup.path.hops
    return (
        lookup.target == ownership.tenant.name and len(hops) <= 1 and lookup.target_columns == (ownership.tenant.key,)
    )


@dataclass(slots=True)
class _Ends:
    """The joins by which the tenant of a path is found, with aliases of their own."""

    ownership: Ownership
    schema: Schema
    prefix: str
    joins: list[sql.Composed] = field(default_factory=list)
    passed: set[Name] = field(default_factory=set)

    def key(self, lookup: TenantLookup, alias: str) -> sql.Composable:
        """The tenant's key to which the path leads from the row `alias`."""
        if _is_key(lookup, self.ownership):
            return sql.Identifier(alias, lookup.columns[0])
        if lookup.path is None:
            raise _Unknown(f"{lookup.label} depends on other rows")
        end = self._along(lookup.path, alias)
        if lookup.target == self.ownership.tenant.name:
            return sql.Identifier(end, self.ownership.tenant.key)
        owner = self.ownership.of(lookup.target)
        if owner is None or lookup.target in self.passed:
            raise _Unknown(f"{lookup.target} gets its own tenant from this table")
        self.passed.add(lookup.target)
        return self.key(_first(lookups(owner, self.ownership, self.schema), lookup.target, owner), end)

    def _along(self, path: Path, alias: str) -> str:
        for hop in path.hops:
            joined = f"{self.prefix}{len(self.joins) + 1}"
            self.joins.append(
                sql.SQL("{} AS {} ON {}").format(
                    hop.parent.identifier, sql.Identifier(joined),
                    sql.SQL(" AND ").join(
                        compared(sql.Identifier(joined, theirs), sql.Identifier(alias, mine), operator)
                        for mine, theirs, operator in zip(hop.columns, hop.parent_columns, hop.operators, strict=True)
                    ),
                )
            )  # fmt: skip
            alias = joined
        return alias


def _first(found: Iterator[TenantLookup], table: Name, owner: Owned) -> TenantLookup:
    for lookup in found:
        if lookup.gives_tenant and lookup.kind is not PathKind.CHILD and owner.assignment is None:
            return lookup
    raise _Unknown(f"{table} does not get its tenants from its own columns")


def corrections(
    pairs: Sequence[tuple[str, str]], owned: Owned, ownership: Ownership, schema: Schema
) -> dict[tuple[str, str], tuple[PathCorrection, ...]]:
    """For each pair of labels both corrections, each of which follows the other path; none if a path disagrees with
    itself, or is the spec's assignment."""
    known = {lookup.label: lookup for lookup in lookups(owned, ownership, schema)}
    return {
        (one, other): (
            correction(known[one], known[other], owned, ownership, schema),
            correction(known[other], known[one], owned, ownership, schema),
        )
        for one, other in dict.fromkeys(pairs)
        if one != other and one in known and other in known
    }
