"""Looks up the names of a spec in a schema; a missing one is refused with the nearest existing name."""

from __future__ import annotations

from dataclasses import dataclass

from tenantry.errors import UsageError, nearest
from tenantry.model.name import Name, split
from tenantry.model.schema import Schema, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """`source` is the spec's name in errors, `home` the schema of tables that are named without one.

    `place`, in each method, is where the name is in the spec. All raise UsageError.
    """

    source: str
    home: str
    schema: Schema

    def error(self, message: str, remedy: str = "") -> UsageError:
        return UsageError(f"{self.source}: {message}", remedy=remedy)

    def name(self, text: str, place: str) -> Name:
        try:
            return Name.parse(text, schema=self.home)
        except UsageError as error:
            raise self.error(f"{place}: {error.message}", remedy=error.remedy) from error

    def table(self, text: str, place: str) -> Table:
        name = self.name(text, place)
        table = self.schema.tables.get(name)
        if table is None and name in self.schema.earlier:
            now = self.schema.earlier[name]
            raise self.error(
                f"{place}: {name} was renamed to {now}: change the name in the spec" if now is not None
                else f"{place}: {name} was dropped since it was migrated: remove it from the spec"
            )  # fmt: skip
        if table is None:
            valid = [str(known) for known in self.schema.tables]
            short = [known.name for known in self.schema.tables if known.schema == self.home]
            raise self.error(
                f"{place}: the table {name} does not exist{nearest(str(name), valid) or nearest(name.name, short)}"
            )
        return table

    def column(self, table: Table, name: str, place: str) -> str:
        earlier = self.schema.earlier_columns
        if table.column(name) is None and (table.name, name) in earlier:
            now = earlier[table.name, name]
            raise self.error(
                f"{place}: the column {name!r} of {table.name} was renamed to {now!r}: change the name in the spec"
                if now is not None
                else f"{place}: the column {name!r} of {table.name} was dropped since it was migrated: choose another"
                " path in the spec"
            )  # fmt: skip
        if table.column(name) is None:
            hint = nearest(name, [column.name for column in table.columns])
            raise self.error(f"{place}: {table.name} has no column {name!r}{hint}")
        return name

    def stored(self, table: Table, name: str, place: str) -> str:
        """A column that indexes, foreign keys and triggers can use: not a VIRTUAL one (since 18)."""
        column = table.column(self.column(table, name, place))
        if column is not None and column.generated == "v":
            raise self.error(
                f"{place}: {table.name}.{name} is a virtual generated column, whose value triggers cannot read",
                remedy="Make it STORED, or use the columns that it is computed from.",
            )
        return name

    def table_column(self, text: str, place: str) -> tuple[Table, str]:
        """The column that `table.column` or `schema.table.column` names, which is to be part of a key."""
        parts = split(text)
        if len(parts) < 2:
            raise self.error(f"{place}: {text!r} is not table.column")
        name = Name(parts[0], parts[1]) if len(parts) == 3 else Name(self.home, parts[0])
        table = self.table(str(name), place)
        return table, self.stored(table, parts[-1], place)
