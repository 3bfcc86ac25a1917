"""What ADD COLUMN breaks, in functions and in statements that the server has recorded (hazard 8).

Views with `*` are not affected: their columns were fixed when they were created. Nor is INSERT without a list of
columns: the new one comes last, and is omitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tenantry.execution.preflight.findings import noted, refused, warned
from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.sql_statements import Passage, Relations, passages
from tenantry.model.finding import Finding
from tenantry.model.name import Name
from tenantry.model.schema import Function
from tenantry.model.wording import listed
from tenantry.postgres.server_state import ServerState

LONGEST = 200
SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Breakage:
    """A passage that a new column of `table` breaks."""

    kind: str
    table: Name
    passage: Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class Incompatibility:
    """The message for a kind of breakage, with `{table}` and `{column}`. `fails`: it refuses the run."""

    why: str
    remedy: str
    fails: bool


NAME_COLUMNS = "name the columns"
KINDS: Mapping[str, Incompatibility] = {
    "insert-select-star": Incompatibility(
        why="INSERT … SELECT * takes one more column from {table} than its target has",
        remedy=NAME_COLUMNS,
        fails=True,
    ),
    "archive-select-star": Incompatibility(
        why="INSERT … SELECT * copies {table} to a table that gets {column}, too: it fails while only one has it",
        remedy=NAME_COLUMNS,
        fails=False,
    ),
    "row-inserted": Incompatibility(
        why="a whole row of {table} is inserted into another table, which has one column fewer",
        remedy=NAME_COLUMNS,
        fails=True,
    ),
    "copy-without-columns": Incompatibility(
        why="COPY {table} FROM without a list of columns: the data has one column fewer",
        remedy="COPY {table} (its columns) FROM",
        fails=True,
    ),
    "copy-to-without-columns": Incompatibility(
        why="COPY {table} TO without a list of columns writes one more column",
        remedy="COPY {table} (its columns) TO",
        fails=False,
    ),
    "natural-join": Incompatibility(
        why="NATURAL JOIN of {table} joins by {column}, too, where the other table has it, and silently loses rows",
        remedy="JOIN … USING (its columns)",
        fails=True,
    ),
    "function-lists-columns": Incompatibility(
        why="a function returns rows of {table} and lists their columns, one fewer than the table gets",
        remedy="return SELECT *, or RETURNS TABLE (…)",
        fails=True,
    ),
    "function-returns-star": Incompatibility(
        why="a function returns SELECT * of {table} as a list of columns, one fewer than the table gets",
        remedy=NAME_COLUMNS,
        fails=True,
    ),
    "select-star": Incompatibility(
        why="a prepared SELECT * of {table} fails until its session prepares it again: its result has one more column",
        remedy="name the columns; or run DEALLOCATE ALL or reconnect once the column exists",
        fails=False,
    ),
    "returning-star": Incompatibility(
        why="a prepared RETURNING * of {table} fails until its session prepares it again: its result has one more"
        " column",
        remedy="name the columns; or run DEALLOCATE ALL or reconnect once the column exists",
        fails=False,
    ),
}


def application_findings(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    """Nothing if no table gets a column."""
    if not scope.growing:
        return
    found: dict[tuple[str, Name], list[Passage]] = {}
    for breakage in _breakages(scope, facts):
        places = found.setdefault((breakage.kind, breakage.table), [])
        if breakage.passage not in places:
            places.append(breakage.passage)
    for (kind, table), places in sorted(found.items(), key=lambda item: item[0]):
        yield _finding(kind, table, scope.growing[table], places)
    for name in sorted(scope.growing):
        for user in scope.schema.tables[name].type_used_by if name in scope.schema.tables else ():
            yield warned(
                name="row-type-column",
                table=name,
                message=f"The column {user} contains rows of {name}, which get one more column",
                remedy=f"check that nothing casts ROW(…) to {name} or reads its text by position",
            )
    if facts.executed is None:
        yield noted(
            name="statements-unknown",
            message="The application's statements are not known: pg_stat_statements is not installed or not readable",
            remedy="CREATE EXTENSION pg_stat_statements some days before, or search the code for SELECT *",
        )


def _finding(kind: str, table: Name, column: str, places: list[Passage]) -> Finding:
    said = KINDS[kind]
    names = list(dict.fromkeys(passage.place for passage in places))
    samples = tuple({"place": passage.place, "text": " ".join(passage.words)[:LONGEST]} for passage in places[:SAMPLES])
    make = refused if said.fails else warned
    return make(
        name=kind,
        table=table,
        count=len(places),
        samples=samples,
        message=f"In {listed(names)}: {said.why.format(table=table, column=column)}",
        remedy=said.remedy.format(table=table, column=column),
    )


def _breakages(scope: Scope, facts: ServerState) -> Iterator[Breakage]:
    relations = Relations.of(scope.growing)
    for executed in facts.executed or ():
        for passage in passages(f"a statement of {executed.role}", executed.text):
            yield from _statement(scope, relations, passage)
            yield from _prepared(relations, passage)
    for function in scope.schema.functions:
        read = tuple(passages(f"function {function.signature}", function.source))
        for passage in read:
            yield from _statement(scope, relations, passage)
        yield from _row_insertions(scope, relations, function, read)
        yield from _results(scope, relations, function, read)


def _statement(scope: Scope, relations: Relations, passage: Passage) -> Iterator[Breakage]:
    """Statements that fail wherever they occur."""
    for position in passage.after("insert", "into"):
        targets = relations.at(passage, position)
        sources = relations.mentioned(passage)
        for target in targets:
            sources.remove(target)
        if any(star > position for star in passage.stars()) and _selects(passage, position):
            kind = "archive-select-star" if targets else "insert-select-star"
            yield from (Breakage(kind, source, passage) for source in dict.fromkeys(sources))
    for position in passage.after("copy"):
        for table in relations.at(passage, position):
            read = passage.relation(position)
            after = passage.word(read[2]) if read is not None else ""
            if after in ("from", "to"):
                yield Breakage("copy-without-columns" if after == "from" else "copy-to-without-columns", table, passage)
    if any(passage.after("natural")):
        mentioned = relations.mentioned(passage)
        others = sum(_has_column(scope, passage, column) for column in set(scope.growing.values()))
        if len(mentioned) + others > 1:
            yield from (Breakage("natural-join", table, passage) for table in dict.fromkeys(mentioned))


def _selects(passage: Passage, position: int) -> bool:
    """SELECT *, but not RETURNING * or a row: the star of the query in INSERT INTO … SELECT."""
    words = passage.words
    returning = words.index("returning", position) if "returning" in words[position:] else len(words)
    return any("select" in words[position:star] and star < returning for star in passage.stars() if star > position)


def _has_column(scope: Scope, passage: Passage, column: str) -> int:
    """How many of the mentioned tables have a column of that name already."""
    having = (name for name, table in scope.schema.tables.items() if table.column(column) and name not in scope.growing)
    return len(Relations.of(having).mentioned(passage))


def _prepared(relations: Relations, passage: Passage) -> Iterator[Breakage]:
    """Prepared statements of clients, whose result the new column changes."""
    words, depth = passage.words, 0
    if "insert" in words and "returning" not in words:
        return
    for position, word in enumerate(words):
        depth += (word == "(") - (word == ")")
        if depth == 0 and word == "*" and position in set(passage.stars()):
            kind = "returning-star" if "returning" in words[:position] else "select-star"
            yield from (Breakage(kind, table, passage) for table in dict.fromkeys(relations.mentioned(passage)))
            return


def _row_insertions(
    scope: Scope, relations: Relations, function: Function, read: tuple[Passage, ...]
) -> Iterator[Breakage]:
    """OLD.*, NEW.*, and variables of a table's row type, inserted into a table that gets no column."""
    triggering = [
        name
        for name in scope.growing
        if name in scope.schema.tables
        and any(trigger.function == function.name for trigger in scope.schema.tables[name].triggers)
    ]
    rows: dict[str, list[Name]] = {"old": triggering, "new": triggering, "$1": triggering}
    for passage in read:
        for position in range(1, len(passage.tokens)):
            declared = relations.at(passage, position)
            end = passage.relation(position)
            if declared and end is not None and passage.word(end[2]) == "%" and passage.word(end[2] + 1) == "rowtype":
                rows.setdefault(passage.word(position - 1), []).extend(declared)
    for passage in read:
        for position in passage.after("insert", "into"):
            if relations.at(passage, position):
                continue
            for star in passage.stars():
                name = passage.word(star - 2) if passage.word(star - 2) != ")" else passage.word(star - 3)
                if star > position and passage.word(star - 1) == ".":
                    yield from (Breakage("row-inserted", table, passage) for table in rows.get(name, ()))


def _results(scope: Scope, relations: Relations, function: Function, read: tuple[Passage, ...]) -> Iterator[Breakage]:
    """Functions whose result has the columns of a table in its definition or in its body only."""
    table = function.returns_table
    grows = table is not None and table in scope.growing
    for number, passage in enumerate(read):
        starred = any(True for _ in passage.stars())
        final = function.language == "sql" and number == len(read) - 1
        if not final and not any(passage.after("return", "query")):
            continue
        if table is not None and grows and not starred and not _whole_row(passage):
            yield Breakage("function-lists-columns", table, passage)
        elif table is None and _outermost(passage) and "insert" not in passage.words:
            for mentioned in dict.fromkeys(relations.mentioned(passage)):
                yield Breakage("function-returns-star", mentioned, passage)
    words = {word for passage in read for word in passage.words}
    if table is not None and grows and function.language == "plpgsql" and "record" in words and "*" not in words:
        yield Breakage("function-lists-columns", table, read[-1])


def _whole_row(passage: Passage) -> bool:
    """SELECT alias FROM …, which returns a row as one column."""
    return any(passage.word(position + 1) == "from" for position in passage.after("select"))


def _outermost(passage: Passage) -> bool:
    """A star outside parentheses."""
    depth, stars = 0, set(passage.stars())
    for position, word in enumerate(passage.words):
        depth += (word == "(") - (word == ")")
        if depth == 0 and position in stars:
            return True
    return False
