"""Whose code runs, and as which role: a statement that runs code of a table's owner runs as that owner.

Reading a table or writing to it runs code of its owner: triggers, checks, defaults, policies, views, casts, operators,
and, when the statement is planned, the expressions of its indexes. If tenantry's role may do what the owner may not,
that code would have the rights of tenantry's role. SET ROLE does not prevent that, since the code can RESET ROLE.
Inside a SECURITY DEFINER function PostgreSQL refuses RESET ROLE, so a statement that names such tables is run within
one that belongs to the owner.

The function is created, called once and dropped in one transaction: its owner may alter it, but nobody else ever sees
it, and nothing calls it again. Whatever the owner's code could leave behind to run as tenantry's role later is removed
before the transaction goes on: deferred triggers, cursors WITH HOLD, which would run at its end, and settings of the
session.

PostgreSQL itself tells which tables a statement names: analysing a statement locks them. The analysis runs no user's
code once the statement's literals are left out: a literal of a composite type would be read, and the checks of its
domains run.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import errors, pq, sql
from psycopg.rows import tuple_row

from tenantry.errors import ConnectionFailed, Refused
from tenantry.model.name import JOURNAL_SCHEMA
from tenantry.postgres.queries import ConstantQuery, read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "owner_context.sql")
OPERATOR_POLICY = "tenantry_operator"
"""The policy by which an owner sees all rows of an isolated table (steps/row_security.py)."""
RENAMES = 5
"""The number of tries if a name comes to be that of another table while this session waits for it."""
FIRST_OF_USERS = 16384
"""The OID from which on types are not PostgreSQL's own."""
DEFERRED_AS_QUEUED = 180000
"""The version since which deferred triggers run as the role that has fired them."""

_BEFORE = rb"\A\s*(?:--[^\n]*\n\s*)*"
_QUERY = re.compile(_BEFORE + rb"\(*\s*(?:SELECT|WITH|INSERT|UPDATE|DELETE|MERGE|VALUES|TABLE|EXPLAIN)\b", re.I)
_VALUE = re.compile(_BEFORE + rb"\(*\s*(?:SELECT|WITH|VALUES)\b", re.I)
"""Such a query can be part of another one, unless its WITH writes."""
_TABLE_AS = re.compile(
    _BEFORE + rb"(CREATE\s+(?:TEMPORARY\s+)?TABLE\s.*?\sAS\s+)((?:SELECT|WITH|TABLE)\b.*)", re.I | re.S
)
_UTILITY = re.compile(
    _BEFORE
    + rb"(?:DO\b|TRUNCATE\b|ALTER\s+TABLE\b.*\s(?:VALIDATE\s+CONSTRAINT|SET\s+NOT\s+NULL|ATTACH\s+PARTITION)\b)",
    re.I | re.S,
)
"""Those other statements of tenantry's that fire triggers, read rows, or prove something from the table's CHECK
constraints. Statements that build or read indexes (CREATE INDEX, REINDEX, ANALYZE) are run by PostgreSQL itself as the
table's owner."""
_DEFINITION = re.compile(
    _BEFORE + rb"(?:ALTER\s+(?:TABLE|INDEX)|CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER)\b", re.I
)
"""Statements that may need a table's partition key, or an index's expressions, whose constants PostgreSQL then
evaluates."""
_PROOF = re.compile(_BEFORE + rb"ALTER\s+TABLE\b.*\sVALIDATE\s+CONSTRAINT\b", re.I | re.S)
_DO = re.compile(_BEFORE + rb"DO\b", re.I)
_ALTER_INDEX = re.compile(_BEFORE + rb"ALTER\s+INDEX\b", re.I)
"""An index cannot be locked ahead to make sure that it stays the same."""
_REFERRED = re.compile(rb'\bREFERENCES\s+("(?:[^"]|"")+"\."(?:[^"]|"")+")', re.I)
_ALTER = re.compile(_BEFORE + rb"ALTER\s+TABLE\b", re.I)
_UNNAMED = re.compile(
    r"[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|--[^\n]*"
    r'|(?P<name>"(?:[^"]|"")*")',
    re.S,
)
"""Parts of a statement in which no relation is named: literals and comments; between them, quoted names."""
_TOKEN = re.compile(rf"{_UNNAMED.pattern}|[()]|\w+", re.S)
_WRITES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE)\b", re.I)
_ONLY = re.compile(r"\bONLY\s*\Z", re.I)
_VERB = re.compile(r"\b(?:(INSERT|MERGE)\s+INTO|(?:(UPDATE)|(DELETE)\s+FROM)(?:\s+ONLY)?)\s*\Z", re.I)
_LOOKS = re.compile(r"\b(?:RETURNING|CONFLICT)\b", re.I)
_CONFLICT = re.compile(r"\bCONFLICT\b", re.I)
_LOCKS = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE)\b", re.I)
_UPDATES = re.compile(r"\bUPDATE\b", re.I)
_REMOVES = re.compile(r"\b(?:DELETE|MERGE)\b", re.I)
_BUILT_IN = re.compile(r"\b(?:interval|date|time|timestamp|timestamptz)\s*\Z", re.I)
_QUALIFIED = re.compile(r'"(?:[^"]|"")+"\."(?:[^"]|"")+"')
_OURS = re.compile(
    r'(?:\A|\n)SQL statement "(?:(?!\nSQL statement ").)*"\nPL/pgSQL function pg_temp_\d+\.tenantry_[^\n]*\Z', re.S
)
"""What the function adds to the context of an error."""

Row = TypeVar("Row")


class NoTemporaryObjects(ConnectionFailed):
    """A role may not create the temporary function in which a statement is to run as that role."""


def fence(connection: psycopg.Connection[Any]) -> None:
    """From now on the connection's cursors run statements as the owner whose code they run; a statement that runs no
    code but that of the connected role and its equals is not changed."""
    row = psycopg.RawCursor(connection, row_factory=tuple_row).execute(_QUERIES["strangers"]).fetchone()
    if row is not None and row[0]:
        connection.cursor_factory = FencingCursor


def fenced(connection: psycopg.Connection[Any]) -> bool:
    return connection.cursor_factory is FencingCursor


def reads_catalog_only(connection: psycopg.Connection[Any], texts: Sequence[sql.Composable]) -> bool:
    """Whether none of these statements, nor queries of one value, can run the code of a table's owner, whoever owns
    what by the time that it is run: then it may be sent together with others. Also true for a connection without a
    fence."""
    if not fenced(connection):
        return True
    given = [_text(connection, text) for text in texts]
    if any((_UTILITY.match(text) and not _only_tenantry(text)) or _TABLE_AS.match(text) for text in given):
        return False
    defined = [name for text in given if _DEFINITION.match(text) for name in _qualified(text)]
    if any(_ALTER_INDEX.match(text) for text in given):
        return False
    if defined:
        with connection.transaction(force_rollback=True):
            if _keyed(connection, defined):
                return False
    queries = [text for text in given if _QUERY.match(text)]
    if not queries:
        return True
    if not all(_VALUE.match(text) for text in queries):
        return False
    whole = b"SELECT " + b", ".join(b"(" + text + b")" for text in queries)
    try:
        # Rolled back, so that none of its locks is left.
        with connection.transaction(force_rollback=True):
            _analysed(connection, whole.decode())
            rows = psycopg.RawCursor(connection, row_factory=tuple_row).execute(_QUERIES["named"]).fetchall()
    except psycopg.Error:
        return False
    return not rows


def _only_tenantry(text: bytes) -> bool:
    """Whether a DO block names nothing but objects of tenantry's."""
    return _DO.match(text) is not None and all(name.startswith(f'"{JOURNAL_SCHEMA}".') for name in _qualified(text))


def unsettled(connection: psycopg.Connection[Any], text: sql.Composable) -> sql.Composed | None:
    """A query of one boolean, to be run when the locks of a definition are held: whether it could run a stranger's code
    after all, since its names have come to be those of another table, or still may. None if it cannot."""
    if not fenced(connection) or _DEFINITION.match(given := _text(connection, text)) is None:
        return None
    names = sql.SQL("ARRAY[{}]::pg_catalog.text[]").format(sql.SQL(", ").join(map(sql.Literal, _qualified(given))))
    keyed, loose = (_QUERIES[name].decode().split("$1::pg_catalog.text[]") for name in ("keyed", "loose"))
    return sql.SQL("SELECT EXISTS ({}) OR EXISTS ({})").format(
        *(sql.Composed([sql.SQL(first), names, sql.SQL(rest)]) for first, rest in (keyed, loose))
    )


def refusals(connection: psycopg.Connection[Any], texts: Sequence[sql.Composable]) -> Iterator[Refused]:
    """Those of a group of definitions that would be refused when they are run, because of the code that they would
    run."""
    given = [_text(connection, text) for text in texts] if fenced(connection) else []
    cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
    referred = [name.decode() for text in given if _ALTER.match(text) for name in _REFERRED.findall(text)]
    for text in given:
        if not (_ALTER.match(text) and _UTILITY.match(text)):
            continue
        rows = cursor.execute(_QUERIES["written_out"], [_qualified(text)]).fetchall()
        role = next((owner for *_, owner, stranger in rows if stranger), None)
        try:
            if role is not None:
                _mixed(cursor, rows, role)
            elif rows and _PROOF.match(text):
                unproved = [name for _, name in cursor.execute(_QUERIES["referred"], [_qualified(text)])]
                _refuse_planned(cursor, f"a foreign key of {rows[0][0]}.{rows[0][1]}", [*referred, *unproved])
        except Refused as refused:
            yield refused


def raw_cursor(connection: psycopg.Connection[Any]) -> psycopg.RawCursor[Any]:
    """A cursor whose parameters are $1, $2, …"""
    return FencingRawCursor(connection) if fenced(connection) else psycopg.RawCursor(connection)


def error_context(error: psycopg.Error) -> str | None:
    """Where an error arose, within the given statement; None if it was the statement itself."""
    said = error.diag.context
    return None if said is None else _OURS.sub("", said) or None


def set_read_only(connection: psycopg.Connection[Any]) -> None:
    """Nothing is written from now on. A session that runs code as its owner has to create the function for it."""
    if not fenced(connection):
        connection.execute("SET default_transaction_read_only = on")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Relation:
    """A relation that a statement names, and the roles whose code it runs."""

    schema: str
    name: str
    temporary: bool
    table: bool
    writes: bool
    owner: str
    strangers: tuple[str, ...]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def pattern(self) -> re.Pattern[str]:
        """A regular expression for the ways in which the statement may have written its name."""
        schema, name = (
            rf'(?:"{re.escape(text.replace(chr(34), chr(34) * 2))}"|(?<![\w"]){re.escape(text)}(?![\w"]))'
            for text in ("pg_temp" if self.temporary else self.schema, self.name)
        )
        return re.compile(rf"(?:{schema}\.|(?<!\.)){name}")

    def named_in(self, text: str) -> bool:
        return any(self.pattern.search(part) for part, named in _parts(text) if named)

    def alone_in(self, text: str) -> bool:
        """Whether its inheritance children are left out wherever a statement names it."""
        named = [(part, found) for part, told in _parts(text) if told for found in self.pattern.finditer(part)]
        return all(_ONLY.search(part, 0, found.start()) for part, found in named)

    def rights_in(self, text: str) -> list[str]:
        """The privileges on it that the role needs for a statement, and no more: other code may use them meanwhile.
        Nobody else may write to what is tenantry's alone, since tenantry trusts its contents."""
        if self.temporary or self.schema == JOURNAL_SCHEMA or not self.writes:
            return ["SELECT"]
        rights: set[str] = set()
        begun = 0
        for part, named in _parts(text):
            for found in self.pattern.finditer(part) if named else ():
                verb = _VERB.search(part, 0, found.start())
                given = (verb.group(1) or verb.group(2) or verb.group(3) if verb else "SELECT").upper()
                rest = _rest(text, begun + found.end())
                if given == "MERGE":
                    rights |= {"INSERT", "UPDATE", "DELETE", "SELECT"}
                elif given == "INSERT":
                    rights |= {"INSERT"} | ({"SELECT"} if _LOOKS.search(rest) else set())
                    rights |= {"UPDATE"} if _CONFLICT.search(rest) else set()
                else:
                    rights |= {given, "SELECT"} | ({"UPDATE"} if _LOCKS.search(_without_names(text)) else set())
            begun += len(part)
        return sorted(rights)

    def inserted_in(self, part: str) -> str | None:
        """How a statement begins that adds rows to it and does nothing else with it, up to the source of the rows."""
        found = re.match(rf'INSERT\s+INTO\s+{self.pattern.pattern}\s*\((?:"(?:[^"]|"")*"|[^")])*\)\s*', part, re.I)
        return None if found is None else found[0]

    def replaced_in(self, text: str, view: sql.Identifier) -> str:
        other = view.as_string(None)
        whole = [(text, True)] if _UTILITY.match(text.encode()) else _parts(text)
        return "".join(self.pattern.sub(lambda _: other, part) if named else part for part, named in whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reached:
    """A stranger whose code a statement may run through foreign keys; and a trigger of theirs, with its table, that
    would run as tenantry's role."""

    owner: str
    trigger: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described:
    """PostgreSQL's description of a statement: the types of its parameters and columns, and the columns' names. Without
    `columns` it returns no rows."""

    parameters: tuple[int, ...]
    columns: tuple[tuple[str, int, int], ...] | None


@dataclass(slots=True, kw_only=True)
class _Fence:
    """A statement, the role as which it runs, and the objects of tenantry's that the role needs for it."""

    connection: psycopg.Connection[Any]
    role: str
    text: str
    described: _Described
    into: str = ""
    lent: tuple[_Relation, ...] = ()

    @property
    def plain(self) -> psycopg.RawCursor[Any]:
        return psycopg.RawCursor(self.connection, row_factory=tuple_row)

    @contextmanager
    def call(self, values: Sequence[Any]) -> Iterator[sql.Composed]:
        """The statement that runs the original one as its role, with `values` as parameters. After the block nothing is
        left behind. Raises Refused if that is not possible in PostgreSQL."""
        columns = self.described.columns
        kinds = [*((type, -1) for type in self.described.parameters), *((type, mod) for _, type, mod in columns or ())]
        asked = [[type for type, _ in kinds], [modifier for _, modifier in kinds], self.role, OPERATOR_POLICY]
        names = [relation.identifier.as_string(None) for relation in self.lent]
        row = self.plain.execute(_QUERIES["before"], [*asked, names]).fetchone()
        assert row is not None
        types, settings, ours, sees, readable = row
        kinds_of = zip(self.described.parameters, types, strict=False)
        parameters = [(sql.SQL(type), sql.SQL(type if oid < FIRST_OF_USERS else "text")) for oid, type in kinds_of]
        # If this session acts as another role to see what that can do, the statement has that role's rights and no
        # more.
        borrowed, lending = ([], []) if ours != "none" else self._lend(readable)
        function = sql.Identifier("pg_temp", f"tenantry_{secrets.token_hex(8)}")
        results = types[len(parameters) :] if columns is not None else ["bigint"]
        try:
            making = self._function(function, parameters, results, sees=sees and ours == "none")
            self.plain.execute(sql.SQL("; ").join([_role("none"), *lending, making]))
        except errors.ReadOnlySqlTransaction as error:
            raise Refused(
                f"Code of {self.role} would run as {self.connection.info.user}, which a standby cannot prevent",
                remedy=f"Connect as {self.role}, or as a role that has no more rights.",
            ) from error
        except errors.InsufficientPrivilege as error:
            if "pg_temp" not in (error.diag.message_primary or ""):
                raise
            grant = sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(
                sql.Identifier(self.connection.info.dbname), sql.Identifier(self.role)
            )
            raise NoTemporaryObjects(
                f"{self.role} may not create temporary objects, which running its code as that role requires",
                remedy=grant.as_string(None),
            ) from error
        heads = [name for name, _, _ in columns] if columns is not None else ["count"]
        places = [sql.Identifier(f"c{number}") for number in range(len(results))]
        yield sql.SQL("{}SELECT {} FROM {}({}) AS t ({})").format(
            sql.SQL(self.into),
            sql.SQL(", ").join(
                sql.SQL("t.{} AS {}").format(place, sql.Identifier(head or "?column?"))
                for place, head in zip(places, heads, strict=True)
            ),
            function,
            sql.SQL(", ").join(
                sql.SQL("${}::{}").format(sql.SQL(str(number)), given)
                for number, (_, given) in enumerate(parameters, start=1)
            ),
            sql.SQL(", ").join(
                sql.SQL("{} {}").format(place, sql.SQL(type)) for place, type in zip(places, results, strict=True)
            ),
        )
        away: list[sql.SQL | sql.Composed] = [
            sql.SQL("CLOSE ALL"),
            sql.SQL("DROP FUNCTION IF EXISTS {}").format(function),
        ]
        away += [sql.SQL("DROP VIEW IF EXISTS {}").format(view) for view in borrowed]
        if self.connection.info.server_version < DEFERRED_AS_QUEUED:
            self._put_back(settings, away)
            self._refuse_left_behind()
            self.plain.execute(_role(ours))
        else:
            self._put_back(settings, [*away, _role(ours)])

    def _put_back(self, settings: str, away: Sequence[sql.SQL | sql.Composed]) -> None:
        # The value is passed as a parameter: until it is set the encoding may be another one.
        with self.connection.pipeline():
            self.plain.execute(_QUERIES["settings"], [settings])
            for statement in away:
                self.plain.execute(statement)

    def _lend(self, readable: Sequence[bool]) -> tuple[list[sql.Identifier], list[sql.Composed]]:
        """Views on relations of tenantry's that the statement names, which the role may use until they are dropped."""
        views, making = [], []
        for relation, allowed in zip(self.lent, readable, strict=True):
            rights = relation.rights_in(self.text)
            if allowed and rights == ["SELECT"]:
                continue
            view = sql.Identifier("pg_temp", f"tenantry_{secrets.token_hex(8)}")
            # System columns by which a statement identifies a row, and a transaction the rows that it has written.
            columns = sql.SQL("t.tableoid, t.ctid, t.xmin, t.*" if relation.table else "t.*")
            alone = sql.SQL("ONLY" if relation.alone_in(self.text) else "")
            given = sql.SQL("CREATE VIEW {} AS SELECT {} FROM {} {} AS t; GRANT {} ON {} TO {}")
            making.append(
                given.format(
                    view, columns, alone, relation.identifier, sql.SQL(", ".join(rights)), view,
                    sql.Identifier(self.role),
                )
            )  # fmt: skip
            self.text = relation.replaced_in(self.text, view)
            views.append(view)
        return views, making

    def _function(
        self,
        name: sql.Identifier,
        parameters: Sequence[tuple[sql.SQL, sql.SQL]],
        results: Sequence[str],
        *,
        sees: bool,
    ) -> sql.Composed:
        # A value of a user's type is passed as text: reading it runs the checks of a domain.
        using = sql.SQL(", ").join(
            sql.SQL("${}::{}").format(sql.SQL(str(number)), type)
            for number, (type, _) in enumerate(parameters, start=1)
        )
        text = _of_types(self.text, results) if self.described.columns is not None else self.text
        execute = sql.SQL("EXECUTE {}{}{}").format(sql.Literal(text), sql.SQL(" USING " if parameters else ""), using)
        if self.described.columns is not None:
            body = sql.SQL("BEGIN RETURN QUERY {}; SET CONSTRAINTS ALL IMMEDIATE; END").format(execute)
        else:
            body = sql.SQL(
                "DECLARE counted bigint; BEGIN {}; GET DIAGNOSTICS counted = ROW_COUNT; SET CONSTRAINTS ALL IMMEDIATE;"
                " RETURN QUERY SELECT counted; END"
            ).format(execute)
        security = sql.SQL("SET row_security = on" if sees else "SET row_security FROM CURRENT")
        return sql.SQL(
            "CREATE FUNCTION {0} ({1}) RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path FROM CURRENT {2} AS {3}; GRANT EXECUTE ON FUNCTION {0} ({1}) TO SESSION_USER;"
            " ALTER FUNCTION {0} ({1}) OWNER TO {4}"
        ).format(
            name, sql.SQL(", ").join(given for _, given in parameters), security, sql.Literal(body.as_string(None)),
            sql.Identifier(self.role),
        )  # fmt: skip

    def _refuse_left_behind(self) -> None:
        try:
            self.plain.execute(_QUERIES["left_behind"])
        except (errors.ObjectInUse, errors.InsufficientPrivilege) as error:
            raise Refused(
                f"A trigger of {self.role} would run at the end of the transaction, as {self.connection.info.user}",
                remedy="Check the functions of deferred triggers: before PostgreSQL 18, none may defer another one.",
                details=[(error.diag.message_primary or str(error)).splitlines()[0]],
            ) from error


class _Fencing:
    """The differences of a fencing cursor: see the module."""

    connection: psycopg.Connection[Any]
    _rowcount: int

    def execute(
        self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Any:
        plainly = super().execute  # type: ignore[misc]
        if isinstance(query, ConstantQuery):
            return plainly(query, params, prepare=prepare, binary=binary)
        text = _text(self.connection, query)
        into = _TABLE_AS.match(text)
        utility = _UTILITY.match(text) is not None or _DEFINITION.match(text) is not None
        status = self.connection.info.transaction_status
        if status is pq.TransactionStatus.INERROR or not (into or utility or _QUERY.match(text)):
            return plainly(query, params, prepare=prepare, binary=binary)
        with _transaction(self.connection):
            bound, values = self._bound(text, query, params)
            reached: _Reached | None = None
            if utility:
                found = _fence_of_utility(self.connection, bound)
            else:
                found, reached = _fence_of_query(self.connection, bound[into.start(2) :] if into else bound)
            if found is None:
                with _settled(self.connection, reached):
                    return plainly(query, params, prepare=prepare, binary=binary)
            if into:
                found.into = into.group(1).decode()
            with found.call(values) as call:
                plainly(call, values or None, prepare=False, binary=binary)
                if found.described.columns is None:
                    result = self.pgresult.get_value(0, 0)  # type: ignore[attr-defined]
                    self._rowcount = int(result or 0)
        return self

    def _bound(self, text: bytes, query: Any, params: Any) -> tuple[bytes, Sequence[Any]]:
        """The statement with its parameters inserted, and those that are yet to be passed."""
        if params is None:
            return text, ()
        return psycopg.ClientCursor(self.connection).mogrify(query, params).encode(), ()


class FencingCursor(_Fencing, psycopg.Cursor[Row]):
    """A cursor that runs a statement as the owner whose code it would run."""


class FencingRawCursor(_Fencing, psycopg.RawCursor[Row]):
    """The same, with parameters $1, $2, …"""

    def _bound(self, text: bytes, query: Any, params: Any) -> tuple[bytes, Sequence[Any]]:
        return text, () if params is None else tuple(params)


def _role(name: str) -> sql.Composed:
    """SET LOCAL ROLE; `none` is the connected role."""
    return sql.SQL("SELECT pg_catalog.set_config('role', {}, true)").format(sql.Literal(name))


def _of_types(text: str, types: Sequence[str]) -> str:
    """A statement whose columns are of exactly these types: PostgreSQL describes a domain by its base type, and a
    function may only return the declared types."""
    places = sql.SQL(", ").join(sql.Identifier(f"c{number}") for number in range(len(types)))
    columns = sql.SQL(", ").join(
        sql.SQL("t.{}::{}").format(sql.Identifier(f"c{number}"), sql.SQL(type)) for number, type in enumerate(types)
    )
    if _VALUE.match(text.encode()) and not _WRITES.search(_without_names(text)):
        given = sql.SQL("SELECT {} FROM ({}\n) AS t ({})").format(columns, sql.SQL(text), places)
        return given.as_string(None)
    # A statement that writes can be part of another query only in a WITH.
    before, last, begun = _last_part(text)
    if last is None:
        return text
    before += "," if begun else "WITH"
    given = sql.SQL('{} "~given" ({}) AS ({}\n) SELECT {} FROM "~given" AS t').format(
        sql.SQL(before), places, sql.SQL(last), columns
    )
    return given.as_string(None)


def _last_part(text: str) -> tuple[str, str | None, bool]:
    """The parts that a statement names by WITH, the rest of it, and whether there are any. None if it cannot be such a
    part itself."""
    depth, begun = 0, False
    for found in _TOKEN.finditer(text):
        word = found[0].upper()
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0 and word == "WITH":
            begun = True
        elif depth == 0 and word in ("SELECT", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE"):
            return text[: found.start()], text[found.start() :], begun
        elif depth == 0 and not begun and not word.startswith("--"):
            break
    return text, None, begun


def _rest(text: str, start: int) -> str:
    """The words from there to the end of the enclosing part, without what is in parentheses."""
    depth, words = 0, []
    for found in _TOKEN.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth < 0:
            break
        if depth == 0 and found[0].isidentifier():
            words.append(found[0])
    return " ".join(words)


def _without_names(text: str) -> str:
    """A statement without its literals, comments and quoted names."""
    return _UNNAMED.sub(" ", text)


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """A statement in parts, and whether each may name relations."""
    place = 0
    for found in _UNNAMED.finditer(text):
        if found["name"] is None:
            yield text[place : found.start()], True
            yield found[0], False
            place = found.end()
    yield text[place:], True


def _text(connection: psycopg.Connection[Any], query: Any) -> bytes:
    if isinstance(query, sql.Composable):
        return query.as_bytes(connection)
    return query if isinstance(query, bytes) else str(query).encode()


@contextmanager
def _transaction(connection: psycopg.Connection[Any]) -> Iterator[None]:
    if connection.info.transaction_status is not pq.TransactionStatus.IDLE:
        yield
    elif connection.autocommit:
        with connection.transaction():
            yield
    else:
        psycopg.RawCursor(connection).execute("SELECT")
        yield


def _fence_of_query(
    connection: psycopg.Connection[Any], text: bytes
) -> tuple[_Fence | None, _Reached | None]:  # fmt: skip
    """The fence that a query needs; and if it needs none, whom it reaches through foreign keys."""
    words = text.decode()
    described = _analysed(connection, words)
    rows = psycopg.RawCursor(connection, row_factory=tuple_row).execute(_QUERIES["named"]).fetchall()
    relations = [
        _Relation(
            schema=schema,
            name=name,
            temporary=temporary,
            table=table,
            writes=writes,
            owner=owner,
            strangers=tuple(strangers),
        )
        for schema, name, temporary, table, writes, owner, strangers, _ in rows
    ]
    # Relations that the transaction had locked before may not be in this statement.
    relations = [relation for relation in relations if relation.named_in(words)]
    standing = rows[0][-1] if rows else None
    strangers = [stranger for relation in relations for stranger in relation.strangers]
    reached = None
    if not strangers:
        reached = _reached(connection, words, [relation for relation in relations if relation.writes])
        if reached is None:
            return None, None
    if not strangers and standing is None:
        return None, reached
    role = standing or strangers[0]
    lent = [relation for relation in relations if relation.owner != role]
    into, rest = ("", words) if standing is not None else _inserted(words, lent)
    if into:
        described = _analysed(connection, rest)
        lent = [relation for relation in lent if relation.named_in(rest)]
    return _Fence(connection=connection, role=role, text=rest, described=described, into=into, lent=tuple(lent)), None


def _inserted(text: str, lent: Sequence[_Relation]) -> tuple[str, str]:
    """The part of a statement that adds rows to a relation of tenantry's, and the query of these rows. Only the query
    is run as its role, so that code in it has no influence on where they are written."""
    before, last, _ = _last_part(text)
    begins = (relation.inserted_in(last) for relation in lent if relation.writes and last is not None)
    into = next(filter(None, begins), "")
    return into, before + (last or "")[len(into) :]


def _reached(connection: psycopg.Connection[Any], text: str, written: Sequence[_Relation]) -> _Reached | None:
    """The stranger, if any, to whose tables foreign keys lead from those that a statement writes."""
    if not written:
        return None
    words = _without_names(text)
    removes = _REMOVES.search(words) is not None
    as_us = connection.info.server_version < DEFERRED_AS_QUEUED
    names = [relation.identifier.as_string(None) for relation in written]
    cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
    row = cursor.execute(_QUERIES["reached"], [names, removes, as_us]).fetchone()
    if row is None:
        return None
    owner, trigger = row
    if trigger is not None and not removes and not (_UPDATES.search(words) and _sets_keys(connection, text, written)):
        trigger = None
    return _Reached(owner=owner, trigger=trigger)


def _sets_keys(connection: psycopg.Connection[Any], text: str, written: Sequence[_Relation]) -> bool:
    """Whether an UPDATE may assign a column by which foreign keys change other tables. PostgreSQL itself tells, with
    views in which such columns are expressions; any other error counts as true."""
    cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
    try:
        with connection.transaction(force_rollback=True):
            for relation in written:
                name = relation.identifier.as_string(None)
                listed, keys, certain = cursor.execute(_QUERIES["columns"], [name]).fetchone() or ([], [], False)
                if not certain:
                    return True
                columns = sql.SQL(", ").join(
                    sql.SQL("CASE WHEN true THEN {0} END AS {0}" if key else "{}").format(sql.Identifier(column))
                    for column, key in zip(listed, keys, strict=True)
                )
                view = sql.Identifier("pg_temp", f"tenantry_{secrets.token_hex(8)}")
                cursor.execute(
                    sql.SQL("CREATE VIEW {} AS SELECT tableoid, ctid, xmin, {} FROM {}").format(
                        view, columns, relation.identifier
                    )
                )
                text = relation.replaced_in(text, view)
            _analysed(connection, text)
    except psycopg.Error:
        return True
    return False


@contextmanager
def _settled(connection: psycopg.Connection[Any], reached: _Reached | None) -> Iterator[None]:
    """Around a statement that names no table of a stranger's, and yet may run their code: if a foreign key between
    tables of both is checked, or has an action. PostgreSQL runs those as the table's owner, but not what is deferred to
    the end. Raises Refused if triggers would run as tenantry's role."""
    if reached is None:
        yield
        return
    if reached.trigger is not None:
        raise Refused(
            f"The trigger {reached.trigger} belongs to {reached.owner}, and a foreign key would make it run as"
            f" {connection.info.user}",
            remedy=f"Make {reached.owner} the owner of both tables of the key, or disable the trigger meanwhile.",
        )
    fence = _Fence(
        connection=connection, role=reached.owner, text="SELECT", described=_Described(parameters=(), columns=None)
    )  # fmt: skip
    with fence.call(()) as settle:
        yield
        fence.plain.execute(settle)


def _fence_of_utility(connection: psycopg.Connection[Any], text: bytes) -> _Fence | None:
    """The fence for a statement whose tables are written out in full."""
    words = text.decode()
    cursor = psycopg.RawCursor(connection, row_factory=tuple_row)
    names = _qualified(text)
    if _DEFINITION.match(text):
        _hold(cursor, lambda: names)
    rows = cursor.execute(_QUERIES["written_out"], [names]).fetchall()
    role = next((owner for *_, owner, stranger in rows if stranger), None)
    if role is None:
        if _PROOF.match(text):
            _refuse_join(cursor, names)
        return None
    described = _Described(parameters=(), columns=None)
    if _UTILITY.match(text) is None:
        keyed = _ALTER_INDEX.match(text) is not None or _keyed(connection, names)
        return _Fence(connection=connection, role=role, text=words, described=described) if keyed else None
    lent = tuple(
        _Relation(schema=schema, name=name, temporary=temporary, table=table, writes=False, owner=owner, strangers=())
        for schema, name, temporary, table, owner, _ in rows
        if owner != role
    )
    if _ALTER.match(text) and _mixed(cursor, rows, role):
        return None
    return _Fence(connection=connection, role=role, text=words, described=described, lent=lent)


def _qualified(text: bytes) -> list[str]:
    """The names in a statement that are written with their schema."""
    return list(dict.fromkeys(_QUALIFIED.findall(text.decode())))


def _hold(cursor: psycopg.RawCursor[Any], names: Callable[[], Sequence[str]]) -> None:
    """Keep the properties of a stranger's tables unchanged until the transaction ends. While this session waits for a
    lock, the name may come to be another table's. Raises Refused if that happens repeatedly."""
    for _ in range(RENAMES):
        loose = [name for (name,) in cursor.execute(_QUERIES["loose"], [names()])]
        if not loose:
            return
        lock = "LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE"
        cursor.execute(sql.SQL(lock).format(sql.SQL(", ").join(map(sql.SQL, loose))))
    raise Refused(
        f"{', '.join(loose)}: tables are being renamed all the time",
        remedy="Find out who renames them, and run the same command again.",
    )


def _keyed(connection: psycopg.Connection[Any], names: Sequence[str]) -> bool:
    """Whether a stranger's partitioned table or index, one of these or in one tree with it, has functions in its key
    that are not PostgreSQL's own."""
    row = psycopg.RawCursor(connection, row_factory=tuple_row).execute(_QUERIES["keyed"], [names]).fetchone()
    return row is not None


def _refuse_join(cursor: psycopg.RawCursor[Any], names: Sequence[str]) -> None:
    """A foreign key of a table of tenantry's role is validated by a join with the other table, which is planned as that
    role. Raises Refused if that would run functions of the other table's owner."""

    def referred() -> list[str]:
        return [name for _, name in cursor.execute(_QUERIES["referred"], [names])]

    _hold(cursor, referred)
    for constraint, table in cursor.execute(_QUERIES["referred"], [names]).fetchall():
        _refuse_planned(cursor, f"the foreign key {constraint}", [table])


def _refuse_planned(cursor: psycopg.RawCursor[Any], what: str, tables: Sequence[str]) -> None:
    row = cursor.execute(_QUERIES["planned"], [tables]).fetchone()
    if row is not None:
        table, owner = row
        raise Refused(
            f"Validating {what} would run functions of {owner}: {table} uses them in its indexes, statistics, checks or"
            " partition key",
            remedy=f"ALTER TABLE … OWNER TO {owner} for the table that refers to {table}, so that validation runs as"
            " that role.",
        )


def _mixed(cursor: psycopg.RawCursor[Any], rows: Sequence[tuple[Any, ...]], role: str) -> bool:
    """Whether a table that is to be altered has partitions that `role` does not own, so that only tenantry's role may
    alter it.

    Raises Refused if CHECK constraints would run functions of other owners in it.
    """
    names = [sql.Identifier(schema, name).as_string(None) for schema, name, *_ in rows]
    mixed, constraint = cursor.execute(_QUERIES["mixed"], [names, role]).fetchone() or (False, None)
    if mixed and constraint is not None:
        raise Refused(
            f"The constraint {constraint} calls functions of other roles, and {role} owns only part of the table",
            remedy=f"ALTER TABLE … OWNER TO {role} for the table's partitions, so that it can be altered as that role.",
        )
    return bool(mixed)


def _without_literals(text: str) -> Iterator[str]:
    before = ""
    for part, named in _parts(text):
        literal = not named and not part.startswith("--") and _BUILT_IN.search(before) is None
        yield "NULL" if literal else part
        before = part


def _analysed(connection: psycopg.Connection[Any], text: str) -> _Described:
    """Have the server analyse a statement, which locks the relations that it names and runs nothing."""
    pgconn, encoding = connection.pgconn, connection.info.encoding
    with connection.lock:
        prepared = pgconn.prepare(b"", "".join(_without_literals(text)).encode())
        if prepared.status != pq.ExecStatus.COMMAND_OK:
            raise errors.error_from_result(prepared, encoding)
        found = pgconn.describe_prepared(b"")
    columns = tuple(
        ((found.fname(number) or b"").decode(encoding), found.ftype(number), found.fmod(number))
        for number in range(found.nfields)
    )
    return _Described(
        parameters=tuple(found.param_type(number) for number in range(found.nparams)),
        columns=columns if found.nfields else None,
    )
