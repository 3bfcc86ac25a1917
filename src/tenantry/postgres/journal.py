"""The journal, in the schema `tenantry`: which steps are applied, what happened, and the progress of fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.rows import class_row, kwargs_row
from psycopg.types.json import Jsonb

from tenantry.errors import ConnectionFailed, Failed, UsageError
from tenantry.model.name import Name
from tenantry.model.run import StepAction
from tenantry.postgres.queries import filled, read_queries
from tenantry.postgres.trust import require_trusted

VERSION = 2
"""The version of the tables. Those of version 1 are of tenantry 0.1.0: its backups can be read, its steps and runs
cannot."""
_QUERIES = read_queries(Path(__file__).with_name("sql") / "journal.sql")

State = Literal["running", "done", "kept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A step that tenantry has applied. `value` is the step as JSON, `wanted` the digest of what it wants, `before`
    what it recorded, `definition` the definition of its object once it was applied. A `running` one was begun by a run
    that may have died in it; a `kept` one stayed after `rollback --preserve-data`."""

    key: str
    position: int
    run: str
    phase: str
    value: Mapping[str, Any]
    wanted: str
    before: Mapping[str, Any]
    definition: str | None
    state: State
    named: Name | None = None
    """The present name of the step's table; None if it no longer exists, or never was a table."""
    of_relation: bool = False
    """Whether it was a table when the step was applied."""
    columns: Mapping[str, str | None] = field(default_factory=dict)
    """The present names of its columns that were renamed since; None if they no longer exist."""

    @property
    def table_dropped(self) -> bool:
        """Whether the table was dropped."""
        return self.of_relation and self.named is None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run that changes, changed or checked the database. `seconds` are None while it is active; `waited` is the
    longest wait for a lock, in milliseconds. `previous` is the run of the same command before it, if both finished, and
    took `previous_seconds` for `previous_steps`."""

    id: str
    command: str
    username: str
    started_at: datetime
    finished_at: datetime | None
    exit_status: int | None
    outcome: str | None
    seconds: float | None
    steps: int
    rows: int
    waited: float
    retries: int
    previous: str | None
    previous_seconds: float | None
    previous_steps: int


def revoke_default_privileges(connection: psycopg.Connection[Any]) -> None:
    """Revoke from others what default privileges have granted on objects that this transaction has created in the
    schema."""
    connection.execute(_QUERIES["shut_out"])


def _entry(*, named: list[str] | None, **columns: Any) -> Entry:
    return Entry(named=None if named is None else Name(*named), **columns)


def _forget(plain: bool) -> str:
    return "forget_plain_step" if plain else "forget_step"


class Journal:
    """Reads and writes the journal over one connection; writes are part of the open transaction, if any."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    @property
    def installed(self) -> bool:
        """Whether the schema exists. Raises Refused if it cannot be trusted, ConnectionFailed if it may not be
        read, UsageError if it has a newer version."""
        require_trusted(self.connection)
        row = self.connection.execute(_QUERIES["installed"]).fetchone()
        if row is None or not row[0]:
            return False
        usable = self.connection.execute(_QUERIES["usable"]).fetchone()
        if usable is None or not usable[0]:
            raise ConnectionFailed(
                "This role has no privileges on the journal in the schema tenantry",
                remedy="Connect as the role that ran tenantry before.",
            )
        version = self.connection.execute(_QUERIES["version"]).fetchone()
        if version is not None and version[0] is not None and version[0] > VERSION:
            raise UsageError(
                f"The journal has version {version[0]}, and this tenantry supports versions up to {VERSION}",
                remedy="Use the newer tenantry that made the journal.",
            )
        return True

    def _require_current(self) -> None:
        """Raises UsageError if the tables are of an earlier version."""
        version = self.connection.execute(_QUERIES["version"]).fetchone()
        if version is not None and version[0] is not None and version[0] < VERSION:
            raise UsageError(
                "The journal in the schema tenantry was made by tenantry 0.1.0, and this version cannot read its steps",
                remedy="Run `tenantry rollback --confirm` and `tenantry housekeeping --purge` with tenantry 0.1.0, then"
                " migrate with this version, which can only list and verify the backups of 0.1.0.",
            )

    def install(self) -> None:
        """Create the schema if it does not exist. Raises ConnectionFailed without the privilege, UsageError if it
        has an earlier version."""
        try:
            with self.connection.transaction():
                require_trusted(self.connection)
                if self.connection.execute(_QUERIES["place"]).fetchone() is None:
                    # Fails where another session has just created it.
                    self.connection.execute("CREATE SCHEMA tenantry")
                elif self.connection.execute(_QUERIES["installed"]).fetchone() == (True,):
                    self._require_current()
                self.connection.execute(_QUERIES["schema"])
                revoke_default_privileges(self.connection)
        except psycopg.errors.DuplicateSchema as error:
            raise Failed(
                "Another session has just created the schema tenantry", remedy="Run the same command again."
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            there = self.connection.execute(_QUERIES["place"]).fetchone() is not None
            raise ConnectionFailed(
                f"The journal in the schema tenantry cannot be {'written' if there else 'made'}:"
                f" {error.diag.message_primary}",
                remedy=f"GRANT {'USAGE, CREATE ON SCHEMA tenantry' if there else 'CREATE ON DATABASE'} to the role that"
                " runs tenantry.",
            ) from error

    def purge(self) -> None:
        """Drop the schema with everything in it."""
        self.connection.execute(_QUERIES["purge"])

    def entries(self) -> dict[str, Entry]:
        """The steps that tenantry has applied, by key, in the order of application; empty without a journal."""
        if not self.installed:
            return {}
        self._require_current()
        with self.connection.cursor(row_factory=kwargs_row(_entry)) as cursor:
            return {entry.key: entry for entry in cursor.execute(_QUERIES["entries"])}

    def begin(
        self, *, key: str, run: str, phase: str, value: Mapping[str, Any], wanted: str, table: Name,
        before: Mapping[str, Any], state: State = "running", anew: bool = False,
    ) -> None:  # fmt: skip
        """Record that a step was begun. The `before` of an earlier try is kept, unless the original state was restored
        since: `anew`."""
        self.connection.execute(
            _QUERIES["begin_step"],
            {"key": key, "run": run, "phase": phase, "value": Jsonb(value), "wanted": wanted, "before": Jsonb(before),
             "table": table.identifier.as_string(None), "state": state, "anew": anew},
        )  # fmt: skip

    def beginning(
        self, *, key: str, run: str, phase: str, value: Mapping[str, Any], wanted: str, table: Name,
        record: sql.Composable | None, anew: bool = False,
    ) -> sql.Composed:  # fmt: skip
        """The statement of `begin`, with the result of the query `record` as `before`."""
        found = sql.SQL("SELECT NULL") if record is None else record
        before = sql.SQL("COALESCE((SELECT found.value FROM ({}) AS found (value) LIMIT 1)::jsonb, '{{}}')").format(
            found
        )
        return filled(
            _QUERIES["begin_step"], key=sql.Literal(key), run=sql.Literal(run), phase=sql.Literal(phase),
            value=sql.Literal(Jsonb(value)), wanted=sql.Literal(wanted), before=before, state=sql.Literal("running"),
            table=sql.Literal(table.identifier.as_string(None)), anew=sql.Literal(anew),
        )  # fmt: skip

    def finishing(self, key: str, definition: sql.Composable) -> sql.Composed:
        """The statement of `finish`, with the result of the query `definition`."""
        found = sql.SQL("(SELECT found.text FROM ({}) AS found (text) LIMIT 1)::text").format(definition)
        return filled(_QUERIES["finish_step"], key=sql.Literal(key), definition=found)

    def forgetting(self, key: str, *, plain: bool = False) -> sql.Composed:
        """The statement of `forget`."""
        return filled(_QUERIES[_forget(plain)], key=sql.Literal(key))

    def keeping(self, key: str) -> tuple[sql.Composed, ...]:
        """The statements of `keep`."""
        return tuple(filled(_QUERIES[name], key=sql.Literal(key)) for name in ("keep_step", "forget_progress"))

    def finish(self, key: str, definition: str | None) -> None:
        self.connection.execute(_QUERIES["finish_step"], {"key": key, "definition": definition})

    def rename(self, entries: Mapping[str, Entry]) -> None:
        """Replace the entries of these keys, whose tables were renamed since, by these entries."""
        values = [
            {"was": was, "key": one.key, "value": one.value, "wanted": one.wanted, "definition": one.definition,
             "before": one.before}
            for was, one in entries.items()
        ]  # fmt: skip
        self.connection.execute(_QUERIES["rename_steps"], {"steps": Jsonb(values)})
        self.connection.execute(_QUERIES["unmark_steps"])
        self.connection.execute(_QUERIES["rename_columns"])

    def adopt(self, *, key: str, phase: str, value: Mapping[str, Any], wanted: str) -> None:
        """Record that the step's present object is what is wanted now: in another phase, or made by the step that has
        ended its own work."""
        self.connection.execute(
            _QUERIES["adopt_step"], {"key": key, "phase": phase, "value": Jsonb(value), "wanted": wanted}
        )

    def restart(self, key: str) -> None:
        """Reset the recorded progress of the step."""
        self.connection.execute(_QUERIES["forget_progress"], {"key": key})

    def keep(self, key: str) -> None:
        """Record that the step stays in the database, but is no longer applied."""
        self.connection.execute(_QUERIES["keep_step"], {"key": key})
        self.restart(key)

    def forget(self, key: str, *, plain: bool = False) -> None:
        """Record that the step was reverted. `plain`: the journal stores nothing else for it (Step.noted_besides)."""
        self.connection.execute(_QUERIES[_forget(plain)], {"key": key})

    def event(
        self, *, run: str, key: str, action: StepAction, milliseconds: float, waited: float = 0.0, tries: int = 1,
        rows: int | None = None, error: str | None = None,
    ) -> None:  # fmt: skip
        """Record what happened to a step; times in milliseconds."""
        self.connection.execute(
            _QUERIES["event"],
            {"run": run, "key": key, "action": action, "milliseconds": milliseconds, "waited": waited, "tries": tries,
             "rows": rows, "error": None if error is None else self._written(error)},
        )  # fmt: skip

    def begin_run(
        self, run: str, command: str, *, options: str = "", partial: bool = False, takes_back: bool = False
    ) -> None:
        """Record the beginning of a run of `command`, with its `options` for users to read; `partial`: of some tables.
        `takes_back`: it reverts steps, so that objects that depended on them are missing until its end."""
        self._require_current()
        self.connection.execute(
            _QUERIES["begin_run"],
            {"id": run, "command": command, "options": options, "partial": partial, "takes_back": takes_back},
        )

    def taking_back(self) -> bool:
        """Whether the last run that applied or reverted steps was to revert some, and did not finish."""
        return self.connection.execute(_QUERIES["taking_back"]).fetchone() == (True,)

    def finish_run(self, run: str, *, exit_status: int, outcome: str) -> None:
        self.connection.execute(
            _QUERIES["finish_run"], {"id": run, "exit_status": exit_status, "outcome": self._written(outcome)}
        )

    def _written(self, text: str) -> str:
        """Text in characters that every encoding has."""
        encoding = (self.connection.info.parameter_status("server_encoding") or "UTF8").replace("WIN", "cp")
        try:
            return text.encode(encoding, "replace").decode(encoding)
        except LookupError:
            return text if encoding == "SQL_ASCII" else text.encode("ascii", "replace").decode()

    def runs(self, limit: int = 10) -> list[RunRecord]:
        """The last runs, newest first."""
        if not self.installed:
            return []
        self._require_current()
        with self.connection.cursor(row_factory=class_row(RunRecord)) as cursor:
            return cursor.execute(_QUERIES["runs"], {"limit": limit}).fetchall()
