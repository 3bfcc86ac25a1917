"""How trigger functions refer to objects of the user's, so that they go on working when those are renamed or dropped.

The text of a function contains the names that were valid when it was created, since static statements with cached plans
are the fastest. Before it uses a name, the function checks, by a query that reads no row and in a block that catches
missing objects, that the tables still have the OIDs that were recorded and that their columns exist. If a name is no
longer valid, the same work is done in dynamic SQL with the present names: by the OID of a table, and by the number of a
column that was renamed. Objects that were dropped are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from psycopg import sql

from tenantry.model.name import JOURNAL_SCHEMA, Name
from tenantry.model.ownership import Hop
from tenantry.model.plan import Statement
from tenantry.steps.derivation import ByChildren, ByKey, ByPath, ByRows, BySlug, ByText, Source, TenantReference, equal
from tenantry.steps.introspection import body, raw

NAMES = Name(JOURNAL_SCHEMA, "names")
"""The table of what tenantry's trigger functions name, by OID: as `regclass`, which a dump writes as a name, so that it
is right in the database into which the dump is restored."""
NAMES_COLUMNS = """made uuid NOT NULL, number int NOT NULL, own regclass NOT NULL, trigger text NOT NULL,
  relation regclass, attnum smallint, name text"""
MISSING = raw("undefined_table OR undefined_column OR undefined_function OR undefined_object OR invalid_schema_name")
"""The errors that PostgreSQL raises for a name that does not exist."""
_TABLE = re.compile(r"'\"\x01(\d+)\x01\"\.\"\x01\"'|\"\x01(\d+)\x01\"(?:\.\"\x01\")?")
NOTHING = sql.Composed([])
_KEY = "@tenantry key@"
MADE, UNMADE = "known\\.made = '[0-9a-f-]{36}'", f"known.made = '{_KEY}'"
"""The parts of a function that are its own, and the placeholder for each."""


class StaticNames:
    """Names as they were when the function was created."""

    new: sql.Composable = sql.SQL("NEW")
    old: sql.Composable = sql.SQL("OLD")

    def table(self, name: Name) -> Name:
        return name

    def column(self, table: Name, column: str) -> str:
        return column

    def compare(self, table: Name, hop: Hop) -> None:
        """Compares columns of the table with those of its parent."""

    def use_expression(self, expression: Callable[[sql.Composable], sql.Composable]) -> None:
        """A query over a row with names that only PostgreSQL can resolve."""

    def columns(self, table: Name, columns: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.column(table, column) for column in columns)

    def ask(self, variable: str, *expressions: sql.Composable) -> sql.Composable:
        """Statements that set a variable of the function to the first of these that is not NULL."""
        first = expressions[0] if len(expressions) == 1 else sql.SQL("COALESCE({})").format(
            sql.SQL(", ").join(expressions)
        )  # fmt: skip
        return sql.SQL("\n  {} := {};").format(raw(variable), first)

    def changes(self, table: Name) -> None:
        """Declares that rows of the table are changed or locked, which needs more privileges than reading them."""

    def do(self, statement: sql.Composable, table: Name) -> sql.Composable:
        """A statement that changes rows of the table."""
        return sql.SQL("\n  {};").format(statement)

    def run(self, statement: Callable[[sql.Composable], sql.Composable], into: str = "") -> sql.Composable:
        """A statement on tables of tenantry's, with its result stored in a variable of the function."""
        return sql.SQL("\n  {};").format(statement(raw(f" INTO {into}") if into else NOTHING))

    def variable(self, name: str) -> sql.Composable:
        """A variable of the function, in a statement."""
        return raw(name)

    def planned_anew(self, statement: sql.Composable, using: sql.Composable) -> sql.Composable:
        """The same, always in dynamic SQL, with parameters."""
        text = sql.Literal(statement.as_string(None))
        return sql.SQL("\n  EXECUTE {} USING {};").format(text, using)


@dataclass(slots=True)
class DynamicNames(StaticNames):
    """Present names, in dynamic SQL; the rows of the trigger are its parameters. It numbers the names that it is asked
    for."""

    own: Name
    """The table of the trigger."""
    known: dict[tuple[Name, str | None], int] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    compared: list[tuple[Name, Hop]] = field(default_factory=list)
    changed: set[Name] = field(default_factory=set)
    parameters: list[str] = field(default_factory=list)
    """Variables of the function, after its rows."""
    expressions: list[Callable[[sql.Composable], sql.Composable]] = field(default_factory=list)
    new = sql.SQL("($1)")
    old = sql.SQL("($2)")

    def _mark(self, table: Name, column: str | None) -> str:
        return f"\x01{self.known.setdefault((table, column), len(self.known) + 1)}\x01"

    def table(self, name: Name) -> Name:
        return name if name.schema == JOURNAL_SCHEMA else Name(self._mark(name, None), "\x01")

    def column(self, table: Name, column: str) -> str:
        return column if table.schema == JOURNAL_SCHEMA else self._mark(table, column)

    def compare(self, table: Name, hop: Hop) -> None:
        self.compared.append((table, hop))

    def use_expression(self, expression: Callable[[sql.Composable], sql.Composable]) -> None:
        self.expressions.append(expression)

    def ask(self, variable: str, *expressions: sql.Composable) -> sql.Composable:
        parts = []
        for number, expression in enumerate(expressions):
            asked = self._execute(sql.SQL("SELECT {}").format(expression), sql.SQL(" INTO {}").format(raw(variable)))
            # An expression of the user's may name objects that were dropped, and its names are not known here.
            caught = sql.SQL("""
  BEGIN{}
  EXCEPTION WHEN {} THEN
    gone := true;
  WHEN insufficient_privilege THEN
    gone := true;
    denied := true;
  END;""").format(asked, MISSING)
            parts.append(sql.SQL("\n  IF {} IS NULL THEN{}\n  END IF;").format(raw(variable), caught)
                         if number else sql.SQL("\n  {} := NULL;{}").format(raw(variable), caught))  # fmt: skip
        return sql.Composed(parts)

    def changes(self, table: Name) -> None:
        self.changed.add(table)

    def do(self, statement: sql.Composable, table: Name) -> sql.Composable:
        self.changes(table)
        relation = raw(f"names[{self.known[table, None]}]::pg_catalog.regclass")
        return self._execute(statement, also=(_may_change(relation),))

    def run(self, statement: Callable[[sql.Composable], sql.Composable], into: str = "") -> sql.Composable:
        return self._execute(statement(NOTHING), raw(f" INTO {into}") if into else NOTHING)

    def variable(self, name: str) -> sql.Composable:
        if name not in self.parameters:
            self.parameters.append(name)
        return raw(f"(${3 + self.parameters.index(name)})")

    def planned_anew(self, statement: sql.Composable, using: sql.Composable) -> sql.Composable:
        return self._execute(statement, using=using)

    def over(self, statement: sql.Composable, mark: str) -> sql.Composable:
        """A statement over the table for which the trigger fired, whose name is a placeholder in it."""
        here = "pg_catalog.concat(pg_catalog.quote_ident(TG_TABLE_SCHEMA), '.', pg_catalog.quote_ident(TG_TABLE_NAME))"
        named = sql.Literal(sql.Identifier(mark).as_string(None))
        over = sql.SQL("pg_catalog.replace({}, {}, pg_catalog.replace({}, '%', '%%'))")
        return self._execute(statement, within=lambda text: over.format(text, named, raw(here)))

    def _execute(
        self, statement: sql.Composable, into: sql.Composable = NOTHING, also: tuple[sql.Composable, ...] = (), *,
        using: sql.Composable | None = None, within: Callable[[sql.Composable], sql.Composable] | None = None,
    ) -> sql.Composable:  # fmt: skip
        found: dict[int, None] = {}

        def placeholder(match: re.Match[str]) -> str:
            literal, plain = match.groups()
            found[int(literal or plain)] = None
            return f"%{literal}$L" if literal else f"%{plain}$s"

        text: sql.Composable = sql.Literal(_TABLE.sub(placeholder, statement.as_string(None).replace("%", "%%")))
        text = text if within is None else within(text)
        self.used |= found.keys()
        using = using or raw(", ".join(["NEW, OLD", *self.parameters]))
        execute = sql.SQL("EXECUTE pg_catalog.format({}, VARIADIC names){} USING {};").format(text, into, using)
        there = [*(raw(f"names[{number}] IS NOT NULL") for number in found), *also]
        if not there:
            return sql.SQL("\n  {}").format(execute)
        return sql.SQL("\n  IF {} THEN\n    {}\n  ELSE\n    gone := true;\n  END IF;").format(
            sql.SQL(" AND ").join(there), execute
        )


@dataclass(slots=True)
class Renamed(StaticNames):
    """Present names, for steps that were made with others: by table and column."""

    names: Mapping[tuple[Name, str], str]

    def column(self, table: Name, column: str) -> str:
        return self.names.get((table, column), column)


# --- what is named


def hops_of(names: StaticNames, table: Name, hops: tuple[Hop, ...]) -> tuple[Hop, ...]:
    """A path from a table on."""
    found = []
    for hop in hops:
        names.compare(table, hop)
        found.append(
            replace(hop, columns=names.columns(table, hop.columns), parent=names.table(hop.parent),
                    parent_columns=names.columns(hop.parent, hop.parent_columns))
        )  # fmt: skip
        table = hop.parent
    return tuple(found)


def path_of(names: StaticNames, table: Name, path: ByPath) -> ByPath:
    column = None if path.column is None else names.column(path.hops[-1].parent, path.column)
    return replace(path, hops=hops_of(names, table, path.hops), column=column)


def paths_of(names: StaticNames, table: Name, paths: Iterable[ByPath]) -> tuple[ByPath, ...]:
    return tuple(path_of(names, table, path) for path in paths)


def tenant_of(names: StaticNames, tenant: TenantReference) -> TenantReference:
    return replace(tenant, table=names.table(tenant.table), key=names.column(tenant.table, tenant.key),
                   slug=names.column(tenant.table, tenant.slug))  # fmt: skip


def source_of(names: StaticNames, table: Name, source: Source) -> Source:
    match source:
        case ByPath():
            return path_of(names, table, source)
        case ByChildren():
            hop = Hop(columns=source.columns, parent=table, parent_columns=source.own_columns,
                      operators=source.operators)  # fmt: skip
            (hop,) = hops_of(names, source.table, (hop,))
            return replace(
                source, table=names.table(source.table), columns=hop.columns, own_columns=hop.parent_columns,
                column=names.column(source.table, source.column), told=paths_of(names, source.table, source.told),
            )  # fmt: skip
        case BySlug():
            return replace(source, tenant=tenant_of(names, source.tenant))
        case ByKey():
            return source
        case ByText():
            names.use_expression(source.expression)
            column = None if source.column is None else names.column(table, source.column)
            return replace(source, tenant=tenant_of(names, source.tenant), column=column)
        case ByRows():
            return replace(source, tenant=tenant_of(names, source.tenant),
                           columns=names.columns(table, source.columns))  # fmt: skip


# --- the function

Known: TypeAlias = tuple[tuple[int, Name, str | None], ...]
"""The names in a function, numbered: tables, and their columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of a trigger, written once for every way of naming: `statements` composes its statements, and `early`
    those before them that look only at the row, so that no table is locked for a row that needs nothing. `always` are
    columns of its table that it uses under their recorded names in any case, since they are tenantry's; `declare` and
    `first` are further declarations and first statements."""

    table: Name
    trigger: str
    statements: Callable[[StaticNames], sql.Composable] | None
    early: Callable[[StaticNames], sql.Composable] = lambda _: NOTHING
    always: tuple[str, ...] = ()
    declare: sql.Composable = field(default_factory=lambda: NOTHING)
    first: sql.Composable = field(default_factory=lambda: NOTHING)
    missed: Callable[[StaticNames], sql.Composable] | None = None
    """Statements that run last if an object that it names is gone."""
    rows: tuple[tuple[str, str, str], ...] = (("true", "NEW", ""),)
    """Where the columns of its table are: a condition, the row's name, and the relation that it comes from, if any.
    Empty if that is not known in advance: then everything is dynamic."""
    returns: str = "NULL"

    def compose(self) -> tuple[sql.Composed, Known]:
        """The function's body, with placeholders for the OIDs, and the names in it, numbered."""
        if self.statements is None:
            simple = sql.SQL("\nDECLARE{}\nBEGIN{}\n  RETURN {};\nEND\n")
            return simple.format(self.declare, self.first, raw(self.returns)), ()
        names = DynamicNames(self.table)
        own = {names.known.setdefault((self.table, column), len(names.known) + 1) for column in self.always}
        dynamic = self.early(names) + self.statements(names)
        # Names that are used only if something is gone need not exist.
        asked = own | names.used
        used = [(number, table, column) for (table, column), number in names.known.items() if number in asked]
        missed = self.missed(names) if self.missed is not None else NOTHING
        known = [(number, table, column) for (table, column), number in names.known.items()]
        text = sql.SQL("""
#variable_conflict use_column
DECLARE
  names text[];
  stands boolean;
  gone boolean;
  denied boolean;{declare}
BEGIN{first}{static}
  SELECT pg_catalog.array_agg(CASE WHEN known.name IS NOT NULL
      THEN pg_catalog.quote_ident(COALESCE(a.attname, b.attname))
      WHEN may.reads THEN c.oid::pg_catalog.regclass::text END ORDER BY known.number),
    pg_catalog.bool_or(NOT may.reads) INTO names, denied
  FROM {names} AS known
  LEFT JOIN pg_catalog.pg_class AS c ON c.oid = known.relation::pg_catalog.oid
  CROSS JOIN LATERAL (SELECT pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
    AND pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AS reads) AS may
  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = known.name AND NOT a.attisdropped
  LEFT JOIN pg_catalog.pg_attribute AS b ON b.attrelid = c.oid AND b.attnum = known.attnum AND NOT b.attisdropped
  WHERE known.made = {key};
  IF {ours} THEN{dynamic}
    IF gone THEN{missed}
    END IF;
  ELSE
    gone := true;
  END IF;
  IF gone AND pg_catalog.current_setting({setting}, true) IS DISTINCT FROM 'on' THEN
    RAISE LOG 'tenantry: a trigger on % names what is gone, and leaves it out', TG_RELID::pg_catalog.regclass
      USING HINT = 'tenantry validate says what it is.';
    PERFORM pg_catalog.set_config({setting}, 'on', false);
  END IF;
  RETURN {returns};
END
""").format(
            declare=self.declare, first=self.first, returns=raw(self.returns),
            static=self._static(names, used) if self.rows else NOTHING, names=NAMES.identifier, key=sql.Literal(_KEY),
            ours=sql.SQL(" AND ").join(
                [sql.SQL("names IS NOT NULL")]
                + [
                    sql.SQL("names[{}] = pg_catalog.quote_ident({})").format(
                        sql.Literal(names.known[self.table, column]), sql.Literal(column)
                    )
                    for column in self.always
                ]
            ),
            dynamic=dynamic, missed=missed, setting=raw("pg_catalog.concat('tenantry.noted_', TG_RELID)"),
        )  # fmt: skip
        # An array has no gaps: all recorded names are listed, used or not.
        return text, tuple(known)

    def _static(self, names: DynamicNames, used: list[tuple[int, Name, str | None]]) -> sql.Composable:
        assert self.statements is not None
        asked = [self._row(used), self.early(StaticNames()), self._tables(names, used)]
        return sql.SQL("""
  stands := true;{asking}
  IF stands THEN{written}
    RETURN {returns};
  END IF;""").format(
            asking=_stands(sql.Composed(asked)) if any(part is not NOTHING for part in asked) else NOTHING,
            written=self.statements(StaticNames()), returns=raw(self.returns),
        )  # fmt: skip

    def _row(self, used: Iterable[tuple[int, Name, str | None]]) -> sql.Composable:
        """An expression that tells whether the row has the columns of its table that are named. Reading each of them in
        an expression is the cheapest check."""
        columns = [column for _, table, column in used if column is not None and table == self.table]
        if not columns:
            return NOTHING
        queries = [
            sql.SQL("\n    {} {} THEN\n      {};").format(
                raw("ELSIF" if number else "IF"), raw(when), _read(raw(row), columns, relation)
            )
            for number, (when, row, relation) in enumerate(self.rows)
        ]
        if len(queries) == 1:
            return sql.SQL("\n    {};").format(_read(raw(self.rows[0][1]), columns, self.rows[0][2]))
        return sql.SQL("{}\n    END IF;").format(sql.Composed(queries))

    def _tables(self, names: DynamicNames, used: list[tuple[int, Name, str | None]]) -> sql.Composable:
        """An expression that tells whether the tables still have their OIDs, the columns, and these the operators: a
        query that reads no row."""
        alias = {table: sql.Identifier(f"t{number}") for number, table, column in used if column is None}
        new = sql.SQL("NEW")

        def row(table: Name) -> sql.Composable:
            return new if table == self.table else alias[table]

        columns: list[sql.Composable] = [
            sql.SQL("{}.{}").format(alias[table], sql.Identifier(column))
            for _, table, column in used
            if column is not None and table != self.table and table in alias
        ]
        columns += [use_expression(new) for use_expression in names.expressions]
        if not alias and not columns:
            return NOTHING
        compared = [
            sql.SQL(" AND {}").format(
                equal(alias.get(hop.parent, new), hop.parent_columns, row(table), hop.columns, hop.operators)
            )
            for table, hop in names.compared
            if {hop.parent, table} <= {self.table, *alias}
        ]
        tables = sql.SQL(", ").join(sql.SQL("{} AS {}").format(table.identifier, name) for table, name in alias.items())
        query = sql.SQL("{}{} WHERE false{}").format(
            sql.SQL(", ").join(columns), sql.SQL(" FROM {}").format(tables) if alias else NOTHING,
            sql.Composed(compared),
        )  # fmt: skip
        mark = {
            table: raw(f"'@tenantry {number}@'::pg_catalog.oid") for number, table, column in used if column is None
        }
        # A constant name is looked up when the statement is planned, and PostgreSQL plans it again if the table or a
        # schema is renamed.
        same = [sql.SQL("{}::pg_catalog.oid = {}").format(table.regclass, oid) for table, oid in mark.items()]
        may = [_may_change(oid) for table, oid in mark.items() if table in names.changed]
        if not same:
            return sql.SQL("\n    PERFORM {};").format(query)
        return sql.SQL("""
    stands := {};
    IF stands THEN
      PERFORM {};
    END IF;""").format(sql.SQL("COALESCE({}, false)").format(sql.SQL(" AND ").join([*same, *may])), query)

    def remember(self, function: Name, known: Known) -> tuple[Statement, ...]:
        """Record the names in the function, which was just created, and put OIDs in the place of the placeholders in
        its text."""
        if not known:
            return ()
        values = sql.SQL(", ").join(
            sql.SQL("({}::int, {}::text, {}::text)").format(
                sql.Literal(number), sql.Literal(table.identifier.as_string(None)), sql.Literal(column)
            )
            for number, table, column in known
        )
        note = sql.SQL(
            "WITH one AS MATERIALIZED (SELECT pg_catalog.gen_random_uuid() AS made)"
            " INSERT INTO {} (made, own, trigger, number, relation, attnum, name)"
            " SELECT one.made, {}, {}, v.number, pg_catalog.to_regclass(v.relation), a.attnum, v.name"
            " FROM one CROSS JOIN (VALUES {}) AS v (number, relation, name)"
            " LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = pg_catalog.to_regclass(v.relation)::pg_catalog.oid"
            " AND a.attname = v.name AND NOT a.attisdropped"
        ).format(NAMES.identifier, _own(self.table), sql.Literal(self.trigger), values)
        put = sql.SQL("DO {}").format(
            body(
                sql.SQL(
                    "DECLARE code text; one record; BEGIN"
                    " code := pg_catalog.pg_get_functiondef(pg_catalog.to_regprocedure({function}));"
                    " FOR one IN SELECT known.made, known.number, known.name, known.relation::pg_catalog.oid AS found"
                    " FROM {names} AS known WHERE {own} LOOP"
                    " code := pg_catalog.replace(code, {mark}, one.made::text);"
                    " IF one.name IS NULL THEN"
                    " code := pg_catalog.replace(code, pg_catalog.concat('@tenantry ', one.number, '@'),"
                    " COALESCE(one.found::text, '0')); END IF; END LOOP;"
                    " EXECUTE code; END"
                ).format(
                    function=sql.Literal(f"{function.identifier.as_string(None)}()"), mark=sql.Literal(_KEY),
                    names=NAMES.identifier, own=_of(self.table, self.trigger, spaced=True),
                )
            )
        )  # fmt: skip
        return forget(self.table, self.trigger), Statement(sql=note), Statement(sql=put)


ARGUMENTS = 50
"""The number of columns that are given to one call; PostgreSQL takes 100."""


def _read(row: sql.Composable, columns: Sequence[str], relation: str) -> sql.Composable:
    """A statement that fails if one of these columns of a row is gone."""
    read = [sql.SQL("{}.{}").format(row, sql.Identifier(column)) for column in columns]
    if relation:
        return sql.SQL("PERFORM {} FROM {} AS {} WHERE false").format(sql.SQL(", ").join(read), raw(relation), row)
    calls = [
        sql.SQL("pg_catalog.num_nulls({}) >= 0").format(sql.SQL(", ").join(read[first : first + ARGUMENTS]))
        for first in range(0, len(read), ARGUMENTS)
    ]
    return sql.SQL("stands := {}").format(sql.SQL(" AND ").join(calls))


def _stands(asking: sql.Composable) -> sql.Composed:
    """A block that tests whether what is named exists and, in a session with a cached plan, has the same type as
    before. It contains no statement of the user's, so no error of theirs is caught by mistake. It is one block, since
    each begins a subtransaction."""
    return sql.SQL("""
  BEGIN{}
  EXCEPTION WHEN {} OR insufficient_privilege OR datatype_mismatch THEN
    stands := false;
  END;""").format(asking, MISSING)


def _may_change(table: sql.Composable) -> sql.Composed:
    return sql.SQL("pg_catalog.has_any_column_privilege({}, 'UPDATE')").format(table)


def _own(table: Name, *, spaced: bool = False) -> sql.Composed:
    """The table of a trigger. With `spaced`, it is not mistaken for one whose rows the statement reads."""
    name = table.identifier.as_string(None)
    return sql.SQL("pg_catalog.to_regclass({})").format(sql.Literal(name.replace('"."', '" ."') if spaced else name))


def _of(table: Name, trigger: str, *, spaced: bool = False) -> sql.Composed:
    """A condition on the rows of `known` that the function of this trigger uses."""
    return sql.SQL("known.own = {} AND known.trigger = {}").format(_own(table, spaced=spaced), sql.Literal(trigger))


def forget(table: Name, trigger: str) -> Statement:
    """Delete the recorded names of a trigger's function."""
    gone = sql.SQL("DELETE FROM {} AS known WHERE {}").format(NAMES.identifier, _of(table, trigger))
    return Statement(sql=gone, when=sql.SQL("SELECT {} IS NOT NULL").format(NAMES.oid))
