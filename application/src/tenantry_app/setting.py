"""The setting that says to PostgreSQL who the tenant is, and the SQL that sets it.

It is set for the running transaction only, so that nothing is left on a connection which goes back to its pool.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT = "app.tenant_id"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+")


@dataclass(frozen=True, slots=True)
class Setting:
    """The setting's name, as `setting` in tenantry.toml has it. Raises ValueError where it cannot be one."""

    name: str = DEFAULT

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not the name of a setting: words with dots, such as {DEFAULT}")

    def set_local(self, value: str, *, read_only: bool = False) -> str:
        """SET LOCAL, for transaction blocks; Citus hands it on to its workers. In ASCII, whatever `value` holds."""
        name = ".".join(f'"{part}"' for part in self.name.split("."))
        statement = f"SET LOCAL {name} = {quoted(value)}"
        return f"SET TRANSACTION READ ONLY; {statement}" if read_only else statement

    def select(self, value: str, *, read_only: bool = False) -> str:
        """One SELECT that sets it for the transaction that it is part of, which may be an implicit one. In ASCII."""
        # IS NULL: the value need not come back, and might have no equivalent in the client's encoding.
        columns = [f"pg_catalog.set_config({quoted(self.name)}, {quoted(value)}, true) IS NULL"]
        if read_only:
            columns.append("pg_catalog.set_config('transaction_read_only', 'on', true) IS NULL")
        return f"SELECT {', '.join(columns)}"


def quoted(text: str) -> str:
    """A literal of SQL for any text without NUL. It is in ASCII and reads the same under any client_encoding and
    whatever standard_conforming_strings says, so that no value can end it."""
    if text.isascii() and "\\" not in text and "'" not in text:
        return f"'{text}'"
    escaped = (
        character if character.isascii() else f"\\U{ord(character):08x}"
        for character in text.replace("\\", "\\\\").replace("'", "''")
    )
    return f"E'{''.join(escaped)}'"
