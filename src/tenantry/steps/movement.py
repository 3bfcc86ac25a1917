"""Movements added to balances: the SQL that all triggers and corrections share.

A movement is a row with the columns of the key, the quantity, the quantity that came in, and the count one; to take a
movement back, the same row is added with its signs reversed. The quantity that went out is what came in less the
quantity, so it is computed once a key and not once a row. Movements commute, so adding one requires no knowledge of the
others.
"""

from __future__ import annotations

from psycopg import sql

from tenantry.model.ledger import SPECIALS, SUMS, KeyColumn, Ledger
from tenantry.steps.introspection import identifiers, raw
from tenantry.steps.naming import StaticNames

_UPSERT = sql.SQL("""INSERT INTO {storage} AS balance ({columns}, slot, {measures}, last_movement)
{rows}
ON CONFLICT ({conflict}) DO UPDATE SET {sums},
  last_movement = greatest(balance.last_movement, excluded.last_movement),
  version = balance.version + 1""")
_NETTED = sql.SQL(
    "SELECT {columns}, sum(moved.quantity) AS quantity, sum(moved.total_in) AS total_in,"
    " sum(moved.total_in) - sum(moved.quantity) AS total_out, sum(moved.movements) AS movements, {specials}"
    " FROM ({movements}) AS moved GROUP BY {columns}"
    " HAVING sum(moved.quantity) <> 0 OR sum(moved.total_in) <> 0 OR sum(moved.movements) <> 0"
    " OR {changed}"
)
_ALONE = sql.SQL(
    "SELECT {columns}, moved.quantity, moved.total_in, moved.total_in - moved.quantity AS total_out, moved.movements,"
    " {specials} FROM ({movements}) AS moved"
)
MOVED = ("quantity", "total_in", "movements", *SPECIALS)
"""The columns of a movement after those of the key."""


def indexed(column: KeyColumn) -> sql.Composable:
    """A key column as the unique index has it. NULLs in arrays are equal for every type: one index works in all
    versions, without a special value that real data could contain (UNIQUE NULLS NOT DISTINCT exists since PostgreSQL
    15)."""
    name = sql.Identifier(column.name)
    return sql.SQL("(ARRAY[{}])").format(name) if column.nullable else name


def unique_columns(ledger: Ledger) -> sql.Composed:
    """The columns of the unique index, those that are never NULL first, since readers can use them in an index
    condition."""
    ordered = sorted(ledger.key, key=lambda column: column.nullable)
    return sql.SQL(", ").join([*(indexed(column) for column in ordered), sql.SQL("slot")])


def measures(quantity: sql.Composable, *, back: bool = False) -> sql.Composed:
    """One movement without its key; with `back`, the same taken back. One without a quantity counts as zero, and so
    does the sum of one whose quantity is not finite. NaN is greater than any number."""
    return sql.SQL(
        "{sign}{finite} AS quantity, {sign}greatest({finite}, 0) AS total_in, {sign}1 AS movements,"
        " {sign}({amount} = 'NaN')::integer AS nans, {sign}({amount} = 'Infinity')::integer AS infinities,"
        " {sign}({amount} = '-Infinity')::integer AS negative_infinities"
    ).format(
        sign=sql.SQL("-" if back else ""), amount=sql.SQL("coalesce({}::numeric, 0)").format(quantity),
        finite=sql.SQL(
            "CASE WHEN {0}::numeric > '-Infinity' AND {0}::numeric < 'Infinity' THEN {0}::numeric ELSE 0 END"
        ).format(quantity),
    )  # fmt: skip


def shown(name: str, column: str = "{}") -> sql.SQL:
    """A measure as readers see it, equal to what PostgreSQL's sum over all movements gives. `column` makes an SQL
    expression from the name of a column of sums."""
    nans, above, below = (column.format(special) for special in SPECIALS)
    not_finite = {
        "quantity": f"WHEN {nans} <> 0 OR {above} <> 0 AND {below} <> 0 THEN 'NaN'::numeric"
        f" WHEN {above} <> 0 THEN 'Infinity' WHEN {below} <> 0 THEN '-Infinity'",
        "total_in": f"WHEN {nans} <> 0 THEN 'NaN'::numeric WHEN {above} <> 0 THEN 'Infinity'",
        "total_out": f"WHEN {nans} <> 0 THEN 'NaN'::numeric WHEN {below} <> 0 THEN 'Infinity'",
    }  # fmt: skip
    return raw(f"CASE {not_finite[name]} ELSE {column.format(name)} END")


def movements(
    ledger: Ledger, relation: sql.Composable, *, back: bool = False, names: StaticNames | None = None
) -> sql.Composed:
    """The rows of the ledger, or of a transition table, as movements; `names` are those of the ledger's columns."""
    return sql.SQL("{} FROM {} AS entry").format(
        movement(ledger, sql.SQL("entry"), back=back, names=names or StaticNames()), relation
    )


def movement(ledger: Ledger, row: sql.Composable, *, back: bool = False, names: StaticNames) -> sql.Composed:
    """A row of the ledger, NEW or OLD of a row trigger, as one movement."""

    def value(column: str) -> sql.Composed:
        return sql.SQL("{}.{}").format(row, sql.Identifier(names.column(ledger.table, column)))

    key = (sql.SQL("{} AS {}").format(value(one.in_ledger), sql.Identifier(one.name)) for one in ledger.key)
    return sql.SQL("SELECT {}, {}").format(sql.SQL(", ").join(key), measures(value(ledger.quantity), back=back))


def netted(ledger: Ledger, rows: sql.Composable) -> sql.Composed:
    """Movements summed for each key, without keys for which nothing changes. GROUP BY treats NULLs as equal."""
    return _NETTED.format(
        columns=identifiers(ledger.columns), movements=rows, specials=_specials("sum(moved.{0}) AS {0}"),
        changed=_specials("sum(moved.{0}) <> 0", " OR "),
    )  # fmt: skip


def alone(ledger: Ledger, rows: sql.Composable) -> sql.Composed:
    """The same as `netted` for a single movement, at half the cost: neither GROUP BY nor a sort has to be set up."""
    return _ALONE.format(
        columns=identifiers(ledger.columns, sql.SQL("moved")), movements=rows, specials=_specials("moved.{}")
    )


def _specials(each: str, between: str = ", ") -> sql.SQL:
    return raw(between.join(each.format(name) for name in SPECIALS))


def add(
    ledger: Ledger, sums: sql.Composable, slot: sql.Composable, *, moved: str = "pg_catalog.now()", single: bool = False
) -> sql.Composed:
    """INSERT … ON CONFLICT of netted movements, or of a `single` one. Rows are added in the order of the key, so that
    two statements that move the same keys cannot deadlock. `moved` is the time of the last movement as SQL: a
    correction is no movement, and does not change it."""
    columns = identifiers(ledger.columns)
    rows = sql.SQL("SELECT {columns}, {slot}, {measures}, {moved} FROM ({sums}) AS netted{order}").format(
        columns=columns, slot=slot, measures=raw(", ".join(SUMS)), sums=sums, moved=raw(moved),
        order=sql.SQL("") if single else sql.SQL(" ORDER BY {}").format(columns),
    )  # fmt: skip
    return _UPSERT.format(
        storage=ledger.storage.identifier, columns=columns, measures=raw(", ".join(SUMS)), rows=rows,
        conflict=unique_columns(ledger), sums=raw(", ".join(f"{n} = balance.{n} + excluded.{n}" for n in SUMS)),
    )  # fmt: skip


def correct(ledger: Ledger, sums: sql.Composable) -> sql.Composed:
    """Add differences, in the slot that no writer uses if writers are spread over slots."""
    return add(ledger, sums, sql.SQL("0"), moved="NULL::timestamptz")


def writer_slot(ledger: Ledger) -> sql.Composable:
    """The slot that a session writes to: slot 0 belongs to corrections where writers are spread."""
    if ledger.slots == 0:
        return sql.SQL("0")
    return sql.SQL("1 + pg_catalog.pg_backend_pid() % {}").format(sql.Literal(ledger.slots))
