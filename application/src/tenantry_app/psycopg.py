"""psycopg 3: connections whose statements are those of the running task's tenant.

    pool = ConnectionPool(dsn, connection_class=TenantConnection)
    with tenant("acme"), pool.connection() as connection:
        connection.execute("SELECT * FROM orders")

A statement outside of any block raises TenantRequired before it is sent. The setting costs no round trip:

- BEGIN and SET LOCAL are one message, and later statements of the transaction need nothing while the tenant is the
  same.
- In autocommit, and if the tenant changes within a transaction, the setting and the statement are sent in one pipeline.
  In autocommit the two are one implicit transaction, after which the setting is gone.
- COPY, stream() and server-side cursors, which a pipeline cannot contain, need a transaction block; if the tenant has
  changed within it, the setting is sent separately.

However a transaction ends or is rolled back, the next statement sends the setting again. All of this works with
PgBouncer in transaction mode; where its `max_prepared_statements` is 0, the default before version 1.24, it needs
`prepare_threshold=None`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import generators, sql
from psycopg._preparing import Prepare
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.rows import Row

from tenantry_app.context import EnteredBlock, innermost, required_block
from tenantry_app.errors import StatementRefused, TenantChanged
from tenantry_app.roles import check, check_async
from tenantry_app.statements import Kind, kind

if TYPE_CHECKING:
    _Connection = psycopg.BaseConnection[Any]
else:
    _Connection = object

_KEEPS = (b"SAVEPOINT", b"RELEASE", b"DEALLOCATE", b"CLOSE", b"FETCH", b"MOVE")
"""The beginnings of psycopg's own commands that leave the setting as it is."""


class _Statement(NamedTuple):
    """A statement as stored in psycopg's list of prepared ones."""

    query: bytes
    types: tuple[int, ...]


_TEXT = 25
"""The type's OID."""
_SETTING = {
    read_only: _Statement(f"SELECT pg_catalog.set_config($1, $2, true) IS NULL{more}".encode(), (_TEXT, _TEXT))
    for read_only, more in (
        (False, ""),
        (True, ", pg_catalog.set_config('transaction_read_only', 'on', true) IS NULL"),
    )
}
"""The statement of Setting.select, for all names and values, which psycopg prepares like any other statement."""
# Members of an enumeration, looked up once.
_NO, _SHOULD, _SYNC, _FAILED = Prepare.NO, Prepare.SHOULD, ExecStatus.PIPELINE_SYNC, ExecStatus.FATAL_ERROR
_COPY = (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH)
_NO_TENANT = (Kind.CONTROL, Kind.EMPTY)


class _Tenancy(_Connection):
    """The common part of TenantConnection and AsyncTenantConnection."""

    _applied_setting: tuple[str, bool] | None = None
    """The setting's value in the open transaction, and whether that is read-only; None: unknown."""
    _announced: Kind = Kind.UNKNOWN
    _fetching = False
    _sent_together: EnteredBlock | None = None
    """The block whose setting is sent in one pipeline with the statement that is being executed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursor_factory, self.server_cursor_factory = self._factories()

    def _factories(self) -> tuple[Any, Any]:
        raise NotImplementedError

    def _is_set(self, block: EnteredBlock) -> bool:
        """Whether the open transaction has the setting that `block` needs."""
        force = self._applied_setting
        return (
            force is not None
            and force[0] == block.value
            and (force[1] or not block.read_only)
            and self.pgconn.transaction_status == TransactionStatus.INTRANS
        )

    def _needed_before(self, kind: Kind) -> EnteredBlock | None:
        """The block whose setting has to be sent before a statement, and can be sent in one pipeline with it. Raises
        TenantRequired."""
        if kind in _NO_TENANT or self._pipeline is not None:
            return None
        block = required_block()
        if kind is Kind.SEVERAL:
            return None
        status = self.pgconn.transaction_status
        if status == TransactionStatus.IDLE:
            return block if self._autocommit else None
        return block if status == TransactionStatus.INTRANS and not self._is_set(block) else None

    def _start_query(self) -> Generator[Any, Any, None]:
        """psycopg calls this before each statement of any cursor, while it holds the connection's lock."""
        kind, self._announced = self._announced, Kind.UNKNOWN
        idle = self.pgconn.transaction_status == TransactionStatus.IDLE
        if (together := self._sent_together) is not None:
            # After an implicit transaction the setting is gone.
            self._applied_setting = None if idle or kind is not Kind.PLAIN else (together.value, together.read_only)
            return
        block = None if kind in _NO_TENANT else required_block()
        if idle:
            self._applied_setting = None
        yield from super()._start_query()
        if block is None:
            self._applied_setting = None
            return
        if self._pipeline is not None:
            yield from self._set(block)
            # The server's status at the time when the statement runs is known only if no pipeline was active before.
            self._applied_setting = None if idle else (block.value, block.read_only)
        elif not self._is_set(block):
            if self.pgconn.transaction_status == TransactionStatus.IDLE:
                raise StatementRefused(
                    "in autocommit, COPY, stream(), server-side cursors, several statements in one string, and cursors"
                    " that are not of tenantry_app.psycopg need a transaction block: use connection.transaction()"
                )
            yield from self._set(block)
            self._applied_setting = (block.value, block.read_only)
        if kind is not Kind.PLAIN:
            self._applied_setting = None

    def _set(self, block: EnteredBlock) -> Generator[Any, Any, None]:
        command = block.select if self._pipeline is not None or block.read_only else block.set_local
        yield from super()._exec_command(command.encode())

    def _exec_command(self, command: Any, result_format: Format = Format.TEXT) -> Generator[Any, Any, Any]:
        """psycopg calls this for its own commands: BEGIN, COMMIT, savepoints, FETCH."""
        text = command.as_bytes(self) if isinstance(command, sql.Composable) else command
        text = text.encode() if isinstance(text, str) else text
        if text.startswith((b"FETCH", b"MOVE")) and not self._fetching:
            raise StatementRefused(
                "a server-side cursor that is not of tenantry_app.psycopg: use connection.cursor(name)"
            )
        block = innermost()
        if (
            block is not None
            and block.refusal is None
            and self._pipeline is None
            and text == self._get_tx_start_command()
        ):
            return (yield from self._begin(text, block))
        if not text.startswith(_KEEPS):
            self._applied_setting = None
        return (yield from super()._exec_command(command, result_format))

    def _begin(self, begin: bytes, block: EnteredBlock) -> Generator[Any, Any, Any]:
        self._applied_setting = None
        result = yield from begin_with(self, begin, block)
        self._applied_setting = (block.value, block.read_only)
        return result


def begin_with(connection: Any, begin: bytes, block: EnteredBlock) -> Generator[Any, Any, Any]:
    """BEGIN and the setting, as one message. `connection`: of psycopg, sync or async; this is one of its generators."""
    connection._check_connection_ok()
    connection.pgconn.send_query(begin + b"; " + block.set_local.encode())
    results = yield from generators.execute(connection.pgconn)
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result, encoding=connection.info.encoding)
    return results[0]


class TenantConnection(_Tenancy, psycopg.Connection[Row]):
    """A psycopg.Connection whose statements are those of the running task's tenant.

    Statements raise TenantRequired outside of any block, StatementRefused if they could not be sent safely. Cursors of
    other classes than this module's work in transaction blocks, with one additional round trip when the tenant changes.
    """

    def _factories(self) -> tuple[Any, Any]:
        return Cursor, ServerCursor


class AsyncTenantConnection(_Tenancy, psycopg.AsyncConnection[Row]):
    """TenantConnection for asyncio."""

    def _factories(self) -> tuple[Any, Any]:
        return AsyncCursor, AsyncServerCursor


def pool(conninfo: str = "", **options: Any) -> Any:
    """A psycopg_pool.ConnectionPool of TenantConnections, each tested by `check`; open, unless `options`, which are the
    pool's own, specify otherwise. Needs psycopg[pool]."""
    from psycopg_pool import ConnectionPool

    given: dict[str, Any] = {"connection_class": TenantConnection, "configure": check, "open": True}
    return ConnectionPool(conninfo, **given | options)


def async_pool(conninfo: str = "", **options: Any) -> Any:
    """The same for asyncio: an AsyncConnectionPool of AsyncTenantConnections, to be opened in the event loop, as by
    `async with pool`."""
    from psycopg_pool import AsyncConnectionPool

    given: dict[str, Any] = {"connection_class": AsyncTenantConnection, "configure": check_async, "open": False}
    return AsyncConnectionPool(conninfo, **given | options)


class _Announcing:
    """A cursor that tells its connection what it is about to send."""

    def _tenancy(self) -> _Tenancy:
        connection: Any = self._conn  # type: ignore[attr-defined]
        if not isinstance(connection, _Tenancy):
            raise StatementRefused("cursors of tenantry_app.psycopg belong to its connections")
        return connection

    def _kind_of(self, query: Any) -> Kind:
        if isinstance(query, str):
            return kind(query)
        if isinstance(query, bytes):
            return kind(query.decode("ascii", "replace"))
        if isinstance(query, sql.Composable):
            return kind(query.as_string(self._conn))  # type: ignore[attr-defined]
        # A template string, whose interpolations may contain anything.
        found = kind(" ".join(query.strings))
        return Kind.MAY_SET if found is Kind.PLAIN else found

    def _start_query(self, query: Any = None) -> Generator[Any, Any, None]:
        connection = self._tenancy()
        if connection._sent_together is None:
            connection._announced = Kind.MAY_SET if query is None else self._kind_of(query)
        try:
            yield from super()._start_query(query)  # type: ignore[misc]
        finally:
            connection._announced = Kind.UNKNOWN


class _Pipelined(_Announcing):
    """A cursor that sends a statement and the setting before it in one pipeline, if the setting has to be changed.

    The pipeline is libpq's: psycopg's own object for it, made for many statements, takes longer than such a query.
    """

    def _execute_gen(self, query: Any, params: Any = None, **options: Any) -> Generator[Any, Any, None]:
        """psycopg calls this for each execute(), while it holds the connection's lock, also while another task waits
        for that."""
        connection = self._tenancy()
        kind = self._kind_of(query)
        connection._sent_together, connection._announced = connection._needed_before(kind), kind
        try:
            yield from super()._execute_gen(query, params, **options)  # type: ignore[misc]
        finally:
            connection._sent_together = None

    def _maybe_prepare_gen(self, query: Any, *, prepare: Any = None, binary: Any = None) -> Generator[Any, Any, None]:
        """psycopg calls this between conversion of the parameters and results: it sends the statement and receives the
        results."""
        this: Any = self
        connection, pgconn = this._conn, this._pgconn
        block: EnteredBlock | None = connection._sent_together
        if block is None:
            yield from super()._maybe_prepare_gen(query, prepare=prepare, binary=binary)  # type: ignore[misc]
            return
        prepared, ended = connection._prepared, False
        setting = _SETTING[block.read_only]
        try:
            pgconn.enter_pipeline_mode()
            # A value that is not in ASCII might have no equivalent in the client's encoding.
            how, name = prepared.get(setting, None if block.value.isascii() else False)
            if how is _SHOULD:
                pgconn.send_prepare(name, setting.query, list(setting.types))
            if how is _NO:
                pgconn.send_query_params(block.select.encode(), None)
            else:
                pgconn.send_query_prepared(name, [block.setting.name.encode(), block.value.encode()])
            its_how, its_name = this._get_prepared(query, prepare)
            if its_how is _SHOULD:
                this._send_prepare(its_name, query)
            if its_how is _NO:
                this._execute_send(query, force_extended=True, binary=binary)
            else:
                this._send_query_prepared(its_name, query, binary=binary)
            pgconn.pipeline_sync()
            yield from generators.send(pgconn)
            answers: list[list[Any]] = []
            try:
                while (answer := (yield from generators.fetch_many(pgconn)))[0].status != _SYNC:
                    answers.append(answer)
                    if answer[-1].status in _COPY:
                        raise psycopg.NotSupportedError("COPY by execute(): use copy(), in a transaction block")
            except psycopg.OperationalError as lost:
                # The server may have told why it closes the connection.
                raise _error(connection, answers) or lost from None
            pgconn.exit_pipeline_mode()
            ended = True
        finally:
            if not ended:  # results that are not awaited any more: the connection is unusable
                pgconn.finish()
        remaining = iter(answers)
        _note(prepared, setting, how, name, remaining)
        _note(prepared, query, its_how, its_name, remaining)
        if (error := _error(connection, answers)) is not None:
            if isinstance(error, psycopg.errors.InvalidSqlStatementName):
                # After a DEALLOCATE ALL that psycopg has not noticed, such as one of a pooler: they are prepared again,
                # and none is deallocated, which could only be those.
                prepared.clear()
                prepared._to_flush.clear()
            raise error
        this._check_results(answers[-1])
        this._set_results(answers[-1])


def _error(connection: Any, answers: list[list[Any]]) -> psycopg.Error | None:
    """The first error among the results."""
    for answer in answers:
        if answer[0].status == _FAILED:
            return psycopg.errors.error_from_result(answer[0], encoding=connection.info.encoding)
    return None


def _note(prepared: Any, statement: Any, how: Prepare, name: bytes, answers: Iterator[list[Any]]) -> None:
    """Let psycopg count a statement, and record it as prepared if the server has prepared it."""
    if how is _SHOULD and next(answers)[0].status != ExecStatus.COMMAND_OK:
        next(answers)
        return
    answer = next(answers)
    key = prepared.maybe_add_to_cache(statement, how, name)
    if key is not None:
        prepared.validate(key, how, name, answer)


class Cursor(_Pipelined, psycopg.Cursor[Row]):
    """psycopg.Cursor, for TenantConnection."""


class ClientCursor(_Pipelined, psycopg.ClientCursor[Row]):
    """psycopg.ClientCursor, for TenantConnection."""


class RawCursor(_Pipelined, psycopg.RawCursor[Row]):
    """psycopg.RawCursor, for TenantConnection."""


class AsyncCursor(_Pipelined, psycopg.AsyncCursor[Row]):
    """psycopg.AsyncCursor, for AsyncTenantConnection."""


class AsyncClientCursor(_Pipelined, psycopg.AsyncClientCursor[Row]):
    """psycopg.AsyncClientCursor, for AsyncTenantConnection."""


class AsyncRawCursor(_Pipelined, psycopg.AsyncRawCursor[Row]):
    """psycopg.AsyncRawCursor, for AsyncTenantConnection."""


class _Fetching(_Announcing):
    """A server-side cursor. PostgreSQL evaluates the tenant when the first row is fetched, and not when the cursor is
    declared; so each fetch is run as the tenant for which the cursor was declared, or refused."""

    _begun: str | None = None

    def _kind_of(self, query: Any) -> Kind:
        return Kind.PLAIN

    def _declare_gen(self, *args: Any, **kwargs: Any) -> Generator[Any, Any, None]:
        if self._withhold:  # type: ignore[attr-defined]
            raise StatementRefused("a cursor WITH HOLD: it reads at COMMIT, and stays on the connection after it")
        self._begun = required_block().value
        yield from super()._declare_gen(*args, **kwargs)  # type: ignore[misc]

    def _fetch_gen(self, num: int | None) -> Generator[Any, Any, Any]:
        with self._as_declared() as setting:
            yield from setting
            return (yield from super()._fetch_gen(num))  # type: ignore[misc]

    def _scroll_gen(self, value: int, mode: str) -> Generator[Any, Any, None]:
        with self._as_declared() as setting:
            yield from setting
            yield from super()._scroll_gen(value, mode)  # type: ignore[misc]

    @contextmanager
    def _as_declared(self) -> Iterator[Generator[Any, Any, None]]:
        """Raises TenantRequired, TenantChanged. The generator sets the tenant if that is not set."""
        block = required_block()
        if self._begun is None:
            raise StatementRefused("rows of a server-side cursor are fetched from the object that executed its query")
        if block.value != self._begun:
            raise TenantChanged(
                "the server-side cursor", self._begun, block.value, "fetch its rows in the block of the first"
            )
        connection: Any = self.connection  # type: ignore[attr-defined]
        connection._fetching = True
        try:
            yield _set_if_needed(connection, block)
        finally:
            connection._fetching = False


def _set_if_needed(connection: Any, block: EnteredBlock) -> Generator[Any, Any, None]:
    if not connection._is_set(block) and connection.pgconn.transaction_status == TransactionStatus.INTRANS:
        yield from connection._set(block)
        connection._applied_setting = (block.value, block.read_only)


class ServerCursor(_Fetching, psycopg.ServerCursor[Row]):
    """psycopg.ServerCursor, for TenantConnection; in transaction blocks, and not WITH HOLD."""


class AsyncServerCursor(_Fetching, psycopg.AsyncServerCursor[Row]):
    """psycopg.AsyncServerCursor, for AsyncTenantConnection; in transaction blocks, and not WITH HOLD."""


for _owner, _name in (
    (psycopg.Connection, "_start_query"),
    (psycopg.Connection, "_exec_command"),
    (psycopg.Connection, "_get_tx_start_command"),
    (psycopg.Cursor, "_start_query"),
    (psycopg.Cursor, "_execute_gen"),
    (psycopg.ServerCursor, "_declare_gen"),
    (psycopg.ServerCursor, "_fetch_gen"),
    (psycopg.ServerCursor, "_scroll_gen"),
    (psycopg.Cursor, "_maybe_prepare_gen"),
    (psycopg.Cursor, "_get_prepared"),
    (psycopg.Cursor, "_execute_send"),
    (psycopg.Cursor, "_send_prepare"),
    (psycopg.Cursor, "_send_query_prepared"),
    (psycopg.Cursor, "_check_results"),
    (psycopg.Cursor, "_set_results"),
):
    # psycopg begins a statement with these; they are not in its documentation, and have existed since 3.1.
    if not hasattr(_owner, _name):
        raise ImportError(
            f"tenantry_app.psycopg does not know psycopg {psycopg.__version__}: it has no {_owner}.{_name}"
        )
