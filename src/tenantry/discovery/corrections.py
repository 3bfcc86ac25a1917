"""Statements that would resolve a conflict: rows whose two paths lead to two tenants are changed to agree with one of
them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from tenantry.discovery.lookups import TenantLookup, compared, ways
from tenantry.model.evidence import WayKind
from tenantry.model.name import Name
from tenantry.model.ownership import Owned, Ownership, Path
from tenantry.model.schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
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
) -> Correction:
    """The statement that changes the rows on the path `wrong` to the tenant of `right`. It sets only columns of the
    user's."""
    try:
        statement, reason = _statement(wrong, right, owned, ownership, schema), ""
    except _Unknown as unknown:
        statement, reason = None, str(unknown)
    return Correction(wrong=wrong.label, right=right.label, statement=statement, reason=reason)


def _statement(wrong: TenantLookup, right: TenantLookup, owned: Owned, ownership: Ownership, schema: Schema) -> str:
    table = schema.tables[owned.table]
    if not table.primary_key:
        raise _Unknown(f"{owned.table} has no primary key to identify its rows by")
    if wrong.kind is WayKind.CHILD or right.kind is WayKind.CHILD:
        raise _Unknown("its children would have to refer to another row, or belong to another one")
    told, said = _Ends(ownership, schema, "a"), _Ends(ownership, schema, "b")
    other, mine = told.key(right, "r"), said.key(wrong, "r")
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
            sql.SQL("").join(sql.SQL(" JOIN {}").format(join) for join in (*told.joins, *said.joins)),
            sql.SQL("NOT {}").format(compared(mine, other, ownership.tenant.key_operator)),
            sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier("t", key), sql.Identifier("s", key)) for key in keys
            ),
        )
        .as_string(None)
    )  # fmt: skip


def _is_key(way: TenantLookup, ownership: Ownership) -> bool:
    """Whether the column of the path holds the tenant's key itself."""
    hops = () if way.path is None else way.path.hops
    return way.target == ownership.tenant.name and len(hops) <= 1 and way.theirs == (ownership.tenant.key,)


@dataclass(slots=True)
class _Ends:
    """The joins by which the tenant of a path is found, with aliases of their own."""

    ownership: Ownership
    schema: Schema
    prefix: str
    joins: list[sql.Composed] = field(default_factory=list)
    passed: set[Name] = field(default_factory=set)

    def key(self, way: TenantLookup, alias: str) -> sql.Composable:
        """The tenant's key to which the path leads from the row `alias`."""
        if _is_key(way, self.ownership):
            return sql.Identifier(alias, way.columns[0])
        if way.path is None:
            raise _Unknown(f"{way.label} depends on other rows")
        end = self._along(way.path, alias)
        if way.target == self.ownership.tenant.name:
            return sql.Identifier(end, self.ownership.tenant.key)
        owner = self.ownership.of(way.target)
        if owner is None or way.target in self.passed:
            raise _Unknown(f"{way.target} gets its own tenant from this table")
        self.passed.add(way.target)
        return self.key(_first(ways(owner, self.ownership, self.schema), way.target, owner), end)

    def _along(self, path: Path, alias: str) -> str:
        for hop in path.hops:
            there = f"{self.prefix}{len(self.joins) + 1}"
            self.joins.append(
                sql.SQL("{} AS {} ON {}").format(
                    hop.parent.identifier, sql.Identifier(there),
                    sql.SQL(" AND ").join(
                        compared(sql.Identifier(there, theirs), sql.Identifier(alias, mine), operator)
                        for mine, theirs, operator in zip(hop.columns, hop.parent_columns, hop.operators, strict=True)
                    ),
                )
            )  # fmt: skip
            alias = there
        return alias


def _first(found: Iterator[TenantLookup], table: Name, owner: Owned) -> TenantLookup:
    for way in found:
        if way.gives and way.kind is not WayKind.CHILD and owner.assignment is None:
            return way
    raise _Unknown(f"{table} does not get its tenants from its own columns")


def corrections(
    pairs: Sequence[tuple[str, str]], owned: Owned, ownership: Ownership, schema: Schema
) -> dict[tuple[str, str], tuple[Correction, ...]]:
    """For each pair of labels both corrections, each of which follows the other path; none if a path disagrees with
    itself, or is the spec's assignment."""
    known = {way.label: way for way in ways(owned, ownership, schema)}
    return {
        (one, other): (
            correction(known[one], known[other], owned, ownership, schema),
            correction(known[other], known[one], owned, ownership, schema),
        )
        for one, other in dict.fromkeys(pairs)
        if one != other and one in known and other in known
    }
