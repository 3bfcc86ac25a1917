"""Small databases of old applications, and their specs: every way in which a row's tenant hangs on foreign keys.

Rows of odd numbers belong to tenant 1, those of even numbers to tenant 2."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

ROWS = 4
APPLICATION = "workloads_app"
TENANTS = "tenants"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A foreign key of one column: to which table, and what it `does` (actions, deferrability)."""

    column: str
    to: str = TENANTS
    does: str = ""
    not_null: bool = True
    default: bool = False
    """Its default is the row, or tenant, 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`spec` is what the spec says of it; `told` are the tables whose rows tell the tenant of its own."""

    name: str
    keys: tuple[Key, ...] = ()
    spec: str = ""
    told: tuple[str, ...] = ()
    partitioned: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return ("id", *(key.column for key in self.keys), "code", "note")

    @property
    def constant(self) -> bool:
        return "assign" in self.spec

    @property
    def shared(self) -> bool:
        return "shared = true" in self.spec

    def script(self) -> Iterator[str]:
        """The table and its rows."""
        columns = ["id int PRIMARY KEY"]
        for key in self.keys:
            ending = " NOT NULL" * key.not_null + " DEFAULT 1" * key.default
            columns.append(f"{key.column} int{ending}")
        unique = "" if self.partitioned else " UNIQUE"
        split = " PARTITION BY RANGE (id)" if self.partitioned else ""
        yield f"CREATE TABLE {self.name} ({', '.join(columns)}, code text{unique}, note text){split}"
        if self.partitioned:
            yield f"CREATE TABLE {self.name}_low PARTITION OF {self.name} FOR VALUES FROM (MINVALUE) TO (3)"
            yield f"CREATE TABLE {self.name}_high PARTITION OF {self.name} FOR VALUES FROM (3) TO (MAXVALUE)"
        for row in range(1, ROWS + 1):
            values = [row, *(2 - row % 2 if key.to == TENANTS else row for key in self.keys)]
            yield f"INSERT INTO {self.name} VALUES ({', '.join(map(str, values))}, 'code {row}', 'row {row}')"

    def constraints(self) -> Iterator[str]:
        """Its foreign keys."""
        for key in self.keys:
            yield (
                f"ALTER TABLE {self.name} ADD CONSTRAINT {self.name}_{key.column} FOREIGN KEY ({key.column})"
                f" REFERENCES {key.to} {key.does}"
            )

    def tenants(self, tables: Mapping[str, Table]) -> str:
        """A query of the tenants that each of its rows has by its keys, as `tenants_of_` views tell of the others."""
        parts = [f"SELECT id, 1 AS tenant FROM {self.name}"] if self.constant else []
        for key in self.keys:
            if key.to == TENANTS:
                parts.append(f"SELECT id, {key.column} AS tenant FROM {self.name} WHERE {key.column} IS NOT NULL")
            elif key.to != self.name and not tables[key.to].told and not tables[key.to].shared:
                parts.append(
                    f"SELECT t.id, p.tenant FROM {self.name} t JOIN tenants_of_{key.to} p ON p.id = t.{key.column}"
                )
        for child in self.told:
            column = next(key.column for key in tables[child].keys if key.to == self.name)
            parts.append(f"SELECT t.{column} AS id, p.tenant FROM {child} t JOIN tenants_of_{child} p ON p.id = t.id")
        return " UNION ".join(parts) or f"SELECT id, NULL::int AS tenant FROM {self.name} WHERE false"


@dataclass(frozen=True, slots=True)
class Shop:
    """An old application's database; a table comes behind those that its rows have their tenants from."""

    tables: tuple[Table, ...]

    @property
    def by_name(self) -> Mapping[str, Table]:
        return {TENANTS: Table(name=TENANTS)} | {table.name: table for table in self.tables}

    @property
    def adopts(self) -> bool:
        """Whether parents get their tenants from their children: the first one holds its parent until COMMIT."""
        return any(table.told for table in self.tables)

    def pends(self, major: int) -> bool:
        """Whether a key of ours waits for COMMIT beside one of the user's that does not, so that a table cannot be
        emptied by the transaction that has written to it (hazard 22)."""
        for table in self.tables:
            keys = [key for key in table.keys if key.to != TENANTS and not self.by_name[key.to].shared]
            if any(key.does.endswith("DEFERRABLE") or (major < 15 and "ON DELETE SET" in key.does) for key in keys):
                return True
        return False

    @property
    def several(self) -> bool:
        """Whether rows have two parents: when they move to another tenant, or all constraints are deferred, our keys wait
        for COMMIT (hazard 22)."""
        return any(
            sum(key.to != TENANTS and not self.by_name[key.to].shared for key in table.keys) > 1
            for table in self.tables
        )

    @property
    def spec(self) -> str:
        parts = [f'[[table]]\nname = "{table.name}"\n{table.spec}' for table in self.tables]
        head = f'[tenant]\ntable = "{TENANTS}"\ndefault = "a"\n[application]\nrole = "{APPLICATION}"'
        return "\n".join((head, *parts)) + "\n"

    @property
    def script(self) -> str:
        lines = [
            f"CREATE TABLE {TENANTS} (id int PRIMARY KEY, code text UNIQUE, note text, slug text UNIQUE DEFAULT 'new')",
            f"INSERT INTO {TENANTS} VALUES (1, 'code 1', 'row 1', 'a'), (2, 'code 2', 'row 2', 'b')",
        ]
        lines += [line for table in self.tables for line in table.script()]
        lines += [line for table in self.tables for line in table.constraints()]
        return ";\n".join(lines)

    @property
    def oracle(self) -> str:
        """Views of whose each row is, by its keys alone; and one of the rows that are of two tenants."""
        owned = [table for table in self.tables if not table.shared]
        lines = [f"CREATE VIEW tenants_of_{table.name} AS {table.tenants(self.by_name)}" for table in owned]
        several = [
            f"(SELECT '{table.name}', id FROM tenants_of_{table.name} GROUP BY id HAVING count(DISTINCT tenant) > 1)"
            for table in owned
        ]
        # A row and the one of its own table that it refers to.
        several += [
            f"(SELECT '{table.name}', t.id FROM {table.name} t JOIN tenants_of_{table.name} o ON o.id = t.id"
            f" JOIN tenants_of_{table.name} p ON p.id = t.{key.column} WHERE o.tenant <> p.tenant)"
            for table in owned
            for key in table.keys
            if key.to == table.name
        ]
        lines.append(f"CREATE VIEW crossed AS {' UNION ALL '.join(several)}")
        return ";\n".join(lines)


def by(*columns: str) -> str:
    """The spec's paths, of one hop each."""
    return f"paths = {json.dumps([[column] for column in columns])}"


CASCADE = "ON DELETE CASCADE ON UPDATE CASCADE"
DEFERRED = "DEFERRABLE INITIALLY DEFERRED"
ITEMS = Table(name="items", keys=(Key(column="company", does=CASCADE),), spec=by("company"))

SHOPS = {
    "cascades": Shop((
        ITEMS,
        Table(name="moves", keys=(Key(column="item", to="items", does=CASCADE),), spec=by("item")),
        Table(name="notes", keys=(Key(column="move", to="moves", does=CASCADE),), spec=by("move")),
    )),
    "set null": Shop((
        Table(
            name="items", keys=(Key(column="company", does="ON DELETE SET NULL", not_null=False),), spec=by("company")
        ),
        Table(name="moves", keys=(Key(column="item", to="items", does="ON DELETE CASCADE"),), spec=by("item")),
    )),
    "set null below": Shop((
        ITEMS,
        Table(
            name="moves",
            keys=(Key(column="item", to="items", does="ON DELETE SET NULL ON UPDATE CASCADE", not_null=False),),
            spec=by("item"),
        ),
    )),
    "set default": Shop((
        ITEMS,
        Table(
            name="moves",
            keys=(Key(column="item", to="items", does="ON DELETE SET DEFAULT", not_null=False, default=True),),
            spec=by("item"),
        ),
    )),
    "deferred": Shop((
        Table(name="items", keys=(Key(column="company", does=DEFERRED),), spec=by("company")),
        Table(name="moves", keys=(Key(column="item", to="items", does=DEFERRED),), spec=by("item")),
    )),
    "deferrable": Shop((
        Table(name="items", keys=(Key(column="company", does="DEFERRABLE"),), spec=by("company")),
        Table(name="moves", keys=(Key(column="item", to="items", does="ON UPDATE CASCADE DEFERRABLE"),), spec=by("item")),
    )),
    "two parents": Shop((
        ITEMS,
        Table(name="shelves", keys=(Key(column="company"),), spec=by("company")),
        Table(
            name="moves",
            keys=(Key(column="item", to="items", does=CASCADE), Key(column="shelf", to="shelves", does="ON UPDATE CASCADE")),
            spec=by("item", "shelf"),
        ),
    )),
    "given": Shop((
        ITEMS,
        Table(
            name="moves",
            keys=(Key(column="company", does=CASCADE), Key(column="item", to="items", does=CASCADE)),
            spec=by("company"),
        ),
    )),
    "no action": Shop((
        Table(name="items", keys=(Key(column="company", does="ON DELETE RESTRICT ON UPDATE CASCADE"),), spec=by("company")),
        Table(name="moves", keys=(Key(column="item", to="items"),), spec=by("item")),
    )),
    "tree": Shop((
        Table(
            name="items",
            keys=(
                Key(column="company", does=CASCADE),
                Key(column="parent", to="items", does="ON DELETE SET NULL ON UPDATE CASCADE", not_null=False),
            ),
            spec=by("company"),
        ),
        Table(name="moves", keys=(Key(column="item", to="items", does=CASCADE),), spec=by("item")),
    )),
    "children tell": Shop((
        Table(
            name="moves",
            keys=(Key(column="company", does=CASCADE), Key(column="lot", to="lots", does="ON DELETE CASCADE")),
            spec=by("company"),
        ),
        Table(name="lots", spec='children = ["moves.lot"]', told=("moves",)),
    )),
    "mixed": Shop((
        Table(name="items", keys=(Key(column="company", does=CASCADE, not_null=False),), spec=by("company") + '\norphans = "shared"'),
        Table(name="shelves", keys=(Key(column="company", does=CASCADE),), spec=by("company")),
        Table(
            name="moves",
            keys=(
                Key(column="shelf", to="shelves", does=CASCADE),
                Key(column="item", to="items", does="ON DELETE SET NULL", not_null=False),
            ),
            spec=by("shelf"),
        ),
    )),
    "one tenant": Shop((
        Table(name="kinds", spec="shared = true"),
        Table(name="items", keys=(Key(column="kind", to="kinds", does="ON DELETE CASCADE"),), spec='assign = { tenant = "a" }'),
        Table(name="moves", keys=(Key(column="item", to="items", does=CASCADE),), spec='assign = { tenant = "a" }'),
    )),
    "partitions": Shop((
        ITEMS,
        Table(name="moves", keys=(Key(column="item", to="items", does=CASCADE),), spec=by("item"), partitioned=True),
        Table(name="notes", keys=(Key(column="move", to="moves", does=CASCADE),), spec=by("move")),
    )),
    "default tenant": Shop((
        Table(name="items", keys=(Key(column="company", does="ON DELETE SET NULL", not_null=False),),
              spec=by("company") + '\nunique = ["items_code_key"]\norphans = "default"'),
        Table(name="moves", keys=(Key(column="item", to="items", does="ON DELETE SET NULL", not_null=False),),
              spec=by("item") + '\norphans = "default"'),
    )),
}  # fmt: skip
