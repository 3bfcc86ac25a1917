"""Sets of a ledger's keys, in temporary tables: chosen, compared, and written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import sql

from tenantry.model.ledger import SPECIALS, SUMS, Ledger
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.movement import movements

CHOSEN, BATCH = raw("pg_temp.tenantry_chosen"), raw("pg_temp.tenantry_batch")
NUMBER, KEY = sql.Identifier("tenantry number"), sql.Identifier("tenantry key")
"""The columns for the number of a key in a batch and for the key as JSON; no column of a user's has such a name."""


def numbered(ledger: Ledger, source: str, *, moved: bool = False) -> sql.Composed:
    """The key's columns of `source` under names that no table has, for a join; `moved`: of the ledger's rows, whose
    columns may have other names than those of the balances."""
    return sql.SQL(", ").join(
        sql.SQL("{}.{} AS {}").format(raw(source), sql.Identifier(name), _number(place))
        for place, name in enumerate(ledger.sources if moved else ledger.columns)
    )


def among(ledger: Ledger, keys: sql.Composable) -> sql.Composed:
    """A condition over the key's bare column names: the key is one of `keys`."""
    return sql.SQL("EXISTS (SELECT FROM {} AS chosen WHERE {})").format(keys, same(ledger, "chosen"))


def same(ledger: Ledger, chosen: str, other: str = "", *, moved: bool = False) -> sql.Composed:
    """A condition: a key of a table made with `numbered` equals that of another row; `moved`: of the ledger's rows.
    NULLs in arrays are equal; columns that are never NULL are compared separately, so that an index of the ledger can
    be used."""
    parts = []
    for place, column in enumerate(ledger.key):
        mine = sql.SQL("{}.{}").format(raw(chosen), _number(place))
        theirs = sql.SQL("{}{}").format(
            raw(f"{other}." if other else ""), sql.Identifier(column.in_ledger if moved else column.name)
        )
        if column.nullable:
            # No array type exists for comparing a domain with its base type.
            alike = sql.SQL("ARRAY[{0}::{2}] OPERATOR(pg_catalog.=) ARRAY[{1}::{2}]")
            parts.append(alike.format(mine, theirs, raw(column.type)))
        else:
            schema, operator = column.operator
            equal = sql.SQL("OPERATOR({}.{})").format(sql.Identifier(schema), raw(operator))
            parts.append(sql.SQL("{} {} {}").format(mine, equal, theirs))
    return sql.SQL(" AND ").join(parts)


def as_json(ledger: Ledger, source: str) -> sql.Composed:
    """The key as a JSON object."""
    return sql.SQL("pg_catalog.jsonb_build_object({})").format(
        sql.SQL(", ").join(
            sql.SQL("{}, {}.{}").format(sql.Literal(name), raw(source), sql.Identifier(name)) for name in ledger.columns
        )
    )


def from_json(ledger: Ledger, source: str) -> sql.Composed:
    """The reverse, as an item of FROM: `known` has the key's columns of `source`.key.

    The table is part of the query, though no row of it is read, so that the permission checks include it: the types of
    its columns may be those of its owner, and reading a value runs the checks of a domain.
    """
    return sql.SQL(
        "LATERAL pg_catalog.jsonb_populate_record((SELECT {0} FROM {1} AS {0} LIMIT 0), {2}.key) AS known"
    ).format(sql.Identifier("tenantry row"), ledger.storage.identifier, raw(source))


def ordered(ledger: Ledger, key: Mapping[str, Any]) -> dict[str, Any]:
    """A key from jsonb, in the order of its columns."""
    return {name: key[name] for name in ledger.columns}


def both_sums(ledger: Ledger) -> sql.Composed:
    """For each key of the batch its number, and the measures of ledger and balance: one statement, so one snapshot."""
    sides = [sql.Identifier(f"{side}_{name}") for side in ("ledger", "balance") for name in SUMS]
    columns, measures = identifiers(ledger.columns), raw(", ".join(SUMS))
    numbers = sql.SQL(", ").join(_number(place) for place in range(len(ledger.key)))
    return sql.SQL(
        "SELECT max(side.{number}) AS {number}, {sums} FROM ("
        "SELECT {number}, {numbers}, {zeros}, {zeros} FROM {batch}"
        " UNION ALL SELECT NULL, {columns}, {moves}, {zeros} FROM ({moved}) AS moved WHERE {among}"
        " UNION ALL SELECT NULL, {columns}, {zeros}, {measures} FROM {storage} WHERE {among}"
        ") AS side ({number}, {columns}, {sides}) GROUP BY {columns} HAVING max(side.{number}) IS NOT NULL"
    ).format(
        number=NUMBER, sums=sql.SQL(", ").join(sql.SQL("sum(side.{0}) AS {0}").format(one) for one in sides),
        numbers=numbers, zeros=raw(", ".join("0" for _ in SUMS)), batch=BATCH, columns=columns, measures=measures,
        moves=raw(", ".join(["quantity, total_in, total_in - quantity, movements", *SPECIALS])),
        moved=movements(ledger, ledger.table.identifier), among=among(ledger, BATCH),
        storage=ledger.storage.identifier, sides=sql.SQL(", ").join(sides),
    )  # fmt: skip


def _number(place: int) -> sql.Identifier:
    return sql.Identifier(f"tenantry {place}")
