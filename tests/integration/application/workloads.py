"""Random workloads of an old application, run beside a twin of its database that nobody has migrated.

What succeeds there succeeds here, with the same result. Left out is what enforce is there to refuse, a row of two
tenants. Workloads end by a rollback, so that the next one finds what the first one found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from application.shops import ROWS, TENANTS, Shop, Table
from servers import Database

LOCKED, PENDING = psycopg.errors.LockNotAvailable, psycopg.errors.ObjectInUse
LOCK_TIMEOUT = "40ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """`rows` are those of COPY; `other`: a second session runs it; `moves`: rows of
    other tables may get another tenant by it, and are held from then on as well."""

    text: str
    rows: str | None = None
    other: bool = False
    moves: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """What two sessions do, each in one transaction."""

    statements: tuple[Statement, ...]

    def __str__(self) -> str:
        lines = [
            f"{'-- other session: ' * one.other}{one.text}{f' <- {one.rows!r}' if one.rows else ''}"
            for one in self.statements
        ]
        return ";\n".join(lines)


# --- the catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What an old application of this shop may say, on this version of PostgreSQL."""

    shop: Shop
    major: int

    def numbers(self, odd: bool, *, new: bool) -> list[int]:
        known = [row for row in range(1, ROWS + 1) if row % 2 == odd]
        return [100 + row for row in known] if new else [*known, *(100 + row for row in known)]

    @property
    def tables(self) -> st.SearchStrategy[Table]:
        return st.sampled_from([*self.shop.by_name.values()])


@st.composite
def row(draw: st.DrawFn, catalog: Catalog, table: Table, odd: bool) -> tuple[str, ...]:
    """The values of a row, as SQL; of one tenant's as a rule."""
    number = draw(st.sampled_from(catalog.numbers(odd, new=draw(st.integers(0, 4)) > 0)))
    values = [str(number)]
    for key in table.keys:
        side = odd if draw(st.integers(0, 15)) else not odd
        known = [1, 101] if side else [2, 102]
        choices = known if key.to == TENANTS else catalog.numbers(side, new=False)
        values.append(
            "NULL" if not key.not_null and draw(st.integers(0, 5)) == 0 else str(draw(st.sampled_from(choices)))
        )
    return (*values, f"'code {number}'", f"'new {number}'")


@st.composite
def insert(draw: st.DrawFn, catalog: Catalog, table: Table, odd: bool) -> Statement:
    """INSERT, INSERT … ON CONFLICT, COPY or MERGE of one to three rows."""
    found = draw(st.lists(row(catalog, table, odd), min_size=1, max_size=3))
    rows = [*{row[0]: row for row in found}.values()]
    columns = table.columns
    ways = ["insert", "insert", "nothing", "update", "by code", "copy", "select"] + ["merge"] * (catalog.major >= 15)
    way = draw(st.sampled_from(ways))
    if table.partitioned and way == "by code":
        way = "update"
    if way == "copy":
        lines = "".join("\t".join(value.strip("'").replace("NULL", "\\N") for value in row) + "\n" for row in rows)
        return Statement(text=f"COPY {table.name} ({', '.join(columns)}) FROM STDIN", rows=lines)
    values = ", ".join(f"({', '.join(row)})" for row in rows)
    source = f"(VALUES {values}) AS s({', '.join(columns)})"
    # A NULL among VALUES is text, unless it is said otherwise.
    casts = [f"s.{c}" if c in ("code", "note") else f"s.{c}::int" for c in columns]
    if way == "merge":
        sets = ", ".join(f"{c} = {v}" for c, v in zip(columns[1:], casts[1:], strict=True))
        return Statement(
            text=f"MERGE INTO {table.name} AS t USING {source} ON t.id = s.id::int"
            f" WHEN MATCHED AND t.id % 3 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET {sets}"
            f" WHEN NOT MATCHED THEN INSERT ({', '.join(columns)}) VALUES ({', '.join(casts)})",
            moves=True,
        )
    ending = {
        "nothing": " ON CONFLICT DO NOTHING",
        "update": " ON CONFLICT (id) DO UPDATE SET "
        + ", ".join(f"{column} = excluded.{column}" for column in columns[1:]),
        "by code": " ON CONFLICT (code) DO UPDATE SET note = excluded.note",
    }.get(way, "")
    query = f"SELECT {', '.join(casts)} FROM {source}" if way == "select" else f"VALUES {values}"
    text = f"INSERT INTO {table.name} ({', '.join(columns)}) {query}{ending} RETURNING {', '.join(columns)}"
    return Statement(text=text, moves=way == "update")


@st.composite
def family(draw: st.DrawFn, catalog: Catalog) -> tuple[Statement, ...]:
    """New rows in several tables, that may refer to each other; parents first, or children."""
    odd = draw(st.booleans())
    tables = [*catalog.shop.by_name.values()]
    if draw(st.booleans()):
        tables = draw(st.permutations(tables))
    return tuple(draw(insert(catalog, table, odd)) for table in tables if draw(st.integers(0, 3)))


def which(catalog: Catalog, table: Table, odd: bool) -> st.SearchStrategy[str]:
    """Some rows of a table."""
    numbers = catalog.numbers(odd, new=False)
    ways = [f"id = {number}" for number in numbers] + [f"id IN ({', '.join(map(str, numbers))})", "true"]
    for key in table.keys:
        ways += [f"{key.column} = {number}" for number in ([1] if odd else [2])]
    return st.sampled_from(ways)


@st.composite
def change(draw: st.DrawFn, catalog: Catalog) -> tuple[Statement, ...]:
    """One statement on rows that may be there."""
    table, odd = draw(catalog.tables), draw(st.booleans())
    name, where = table.name, draw(which(catalog, table, odd))
    new = draw(st.sampled_from(catalog.numbers(odd, new=True)))
    back = " RETURNING id, note" * draw(st.booleans())
    columns = ", ".join(table.columns)
    others = [key.column for key in table.keys]
    copied = ", ".join(["id + 100", *others, "code || ' copy'", "note"])
    ways = [
        Statement(text=f"DELETE FROM {name} WHERE {where}{back}"),
        Statement(text=f"UPDATE {name} SET id = {new} WHERE id = {new - 100}", moves=name == TENANTS),
        Statement(text=f"UPDATE {name} SET note = note || '!' WHERE {where}{back}"),
        Statement(text=f"UPDATE {name} SET code = code || '!', note = NULL WHERE {where}{back}"),
        Statement(text=f"INSERT INTO {name} ({columns}) SELECT {copied} FROM {name} WHERE {where} AND id < 100"),
        Statement(
            text=f"WITH gone AS (DELETE FROM {name} WHERE {where} RETURNING *)"
            f" INSERT INTO {name} ({columns}) SELECT {columns} FROM gone ON CONFLICT DO NOTHING"
        ),
        Statement(text=f"TRUNCATE {name}"),
        Statement(text=f"TRUNCATE {name} CASCADE"),
        Statement(text=f"TRUNCATE {', '.join(one for one in catalog.shop.by_name if one != TENANTS)}"),
    ]
    for key in table.keys:
        numbers = [1, 101] if key.to == TENANTS else catalog.numbers(True, new=False)
        value = draw(st.sampled_from(numbers)) + (not odd)
        set_ = draw(st.sampled_from([f"{value}"] * 4 + ["NULL", "DEFAULT"]))
        ways.append(Statement(text=f"UPDATE {name} SET {key.column} = {set_} WHERE {where}{back}", moves=True))
        ways.append(
            Statement(
                text=f"UPDATE {name} AS t SET note = p.note FROM {key.to} AS p WHERE p.id = t.{key.column}"
                f" AND p.id = {value}"
            )
        )
        ways.append(
            Statement(
                text=f"DELETE FROM {name} AS t USING {key.to} AS p WHERE p.id = t.{key.column} AND p.id = {value}"
            )
        )
    return (draw(st.sampled_from(ways)),)


@st.composite
def removal(draw: st.DrawFn, catalog: Catalog) -> tuple[Statement, ...]:
    """A tenant goes, and what is its own, in some order."""
    odd = draw(st.booleans())
    parts = [Statement(text=f"DELETE FROM {TENANTS} WHERE id = {2 - odd}")]
    parts += [
        Statement(text=f"DELETE FROM {table.name} WHERE id IN ({', '.join(map(str, catalog.numbers(odd, new=False)))})")
        for table in catalog.shop.tables
    ]
    return tuple(draw(st.permutations(parts))) if draw(st.booleans()) else (parts[0],)


@st.composite
def timing(draw: st.DrawFn, catalog: Catalog) -> tuple[Statement, ...]:
    names = [f"{table.name}_{key.column}" for table in catalog.shop.tables for key in table.keys]
    which = draw(st.sampled_from(["ALL", *names]))
    return (Statement(text=f"SET CONSTRAINTS {which} {draw(st.sampled_from(['DEFERRED', 'IMMEDIATE']))}"),)


@st.composite
def locks(draw: st.DrawFn, catalog: Catalog) -> tuple[Statement, ...]:
    """The other session holds rows, such as the tenant's as a mutex."""
    table = draw(st.one_of(st.just(catalog.shop.by_name[TENANTS]), catalog.tables))
    strength = draw(st.sampled_from(["UPDATE", "UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE"]))
    where = draw(which(catalog, table, draw(st.booleans())))
    return (Statement(text=f"SELECT id FROM {table.name} WHERE {where} ORDER BY id FOR {strength}", other=True),)


@st.composite
def workloads(draw: st.DrawFn, catalog: Catalog) -> Workload:
    parts = [
        family(catalog), change(catalog), change(catalog), removal(catalog),
        timing(catalog), locks(catalog),
    ]  # fmt: skip
    drawn = draw(st.lists(st.one_of(parts), min_size=1, max_size=5))
    return Workload(tuple(one for part in drawn for one in part))


# --- what comes of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Two sessions on one database: the twin, or one that was migrated."""

    name: str
    own: psycopg.Connection[Any]
    other: psycopg.Connection[Any]
    complete: bool = False
    """Every row has its tenant."""

    @classmethod
    @contextmanager
    def of(cls, name: str, database: Database, **options: Any) -> Iterator[Side]:
        with ExitStack() as stack:
            own, other = (stack.enter_context(database.connect(autocommit=True)) for _ in range(2))
            for session in (own, other):
                session.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
            yield cls(name=name, own=own, other=other, **options)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """In both sessions, rolled back at the end."""
        with ExitStack() as stack:
            for session in (self.own, self.other):
                session.execute("BEGIN")
                stack.callback(session.execute, "ROLLBACK")
            yield

    def run(self, statement: Statement) -> Any:
        """What it returns, in some order: RETURNING promises none; or the error, and then it has done nothing."""
        session = self.other if statement.other else self.own
        session.execute("SAVEPOINT one")
        try:
            if statement.rows is not None:
                with session.cursor() as cursor:
                    with cursor.copy(statement.text) as copy:
                        copy.write(statement.rows)
                    return cursor.rowcount
            done = session.execute(statement.text)
            return done.rowcount, sorted(map(repr, done.fetchall())) if done.description else None
        except psycopg.Error as error:
            session.execute("ROLLBACK TO one")
            return error

    def take_back(self, statement: Statement) -> None:
        (self.other if statement.other else self.own).execute("ROLLBACK TO one")

    def rows(self, shop: Shop) -> dict[str, list[tuple[Any, ...]]]:
        """The user's columns."""
        return {
            name: self.own.execute(f"SELECT {', '.join(table.columns)} FROM {name} ORDER BY id").fetchall()
            for name, table in shop.by_name.items()
        }


@dataclass(slots=True, kw_only=True)
class Beside:
    """Runs workloads on the twin and on the others, and holds these to it."""

    shop: Shop
    major: int
    twin: Side
    others: tuple[Side, ...]
    succeeded: int = 0
    failed: int = 0
    kinds: set[str] = field(default_factory=set)

    def run(self, workload: Workload) -> None:
        with ExitStack() as stack:
            for side in (self.twin, *self.others):
                stack.enter_context(side.transaction())
            sides = list(self.others)
            moved, pends = False, self.shop.pends(self.major)
            for statement in (*workload.statements, COMMIT):
                expected = self.twin.run(statement)
                if not isinstance(expected, psycopg.Error) and self.twin.own.execute("TABLE crossed").fetchall():
                    self.twin.take_back(statement)
                    continue
                if isinstance(expected, psycopg.Error):
                    self.failed += 1
                    if statement is COMMIT:
                        return
                    continue
                self.succeeded += 1
                self.kinds.add(statement.text.split()[0])
                moved = moved or statement.moves or self.shop.adopts
                pends = pends or (self.shop.several and (moved or statement.text.endswith("DEFERRED")))
                for side in tuple(sides):
                    found = side.run(statement)
                    if (moved and isinstance(found, LOCKED)) or (pends and isinstance(found, PENDING)):
                        sides.remove(side)
                        continue
                    assert_same(found, expected, f"{side.name}: {statement.text}\nof {workload}")
            whole = self.twin.rows(self.shop)
            tenants = self.tenants()
            for side in sides:
                rows = side.rows(self.shop)
                for table, expected in whole.items():
                    assert_same(rows[table], expected, f"{side.name}: rows of {table}\nafter {workload}")
                if side.complete:
                    self.assert_tenants(side, tenants, workload)

    def tenants(self) -> dict[str, dict[int, int]]:
        """Whose each row is by its keys, where they say."""
        return {
            table.name: dict(self.twin.own.execute(f"SELECT id, min(tenant) FROM tenants_of_{table.name} GROUP BY id").fetchall())
            for table in self.shop.tables
            if not table.shared
        }  # fmt: skip

    def assert_tenants(self, side: Side, tenants: dict[str, dict[int, int]], workload: Workload) -> None:
        for table, expected in tenants.items():
            column = "company" if self.shop.by_name[table].spec.startswith('paths = [["company"]]') else "tenant_id"
            found = dict(side.own.execute(f"SELECT id, {column} FROM {table}").fetchall())
            same = {number: found[number] for number in expected}
            assert_same(same, expected, f"{side.name}: tenants of {table}\nafter {workload}")


COMMIT = Statement(text="SET CONSTRAINTS ALL IMMEDIATE")
"""What a COMMIT would check."""


def assert_same(found: Any, expected: Any, where: str) -> None:
    if isinstance(found, psycopg.Error):
        raise AssertionError(f"{where}\nfails: {type(found).__name__}: {found}")
    assert found == expected, where


def run_many(beside: Beside, catalog: Catalog, examples: int, number: int = 0) -> None:
    """So many workloads, the same ones each time for the same number."""

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(workload=workloads(catalog))
    def run(workload: Workload) -> None:
        beside.run(workload)

    run()
