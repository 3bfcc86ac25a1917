"""The setting that names the tenant for PostgreSQL, and the SQL that sets it.

It is set for the running transaction only, so that nothing is left on a connection that is returned to its pool.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT = "app.tenant_id"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+")


@dataclass(frozen=True, slots=True)
class Setting:
    """The setting's name, as `setting` in tenantry.toml. Raises ValueError if it is not valid."""

    name: str = DEFAULT

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not the name of a setting: words with dots, such as {DEFAULT}")

    def set_local(self, value: str, *, read_only: bool = False) -> str:
        """SET LOCAL, for transaction blocks; Citus passes it to its workers. In ASCII, whatever `value` contains."""
        name = ".".join(f'"{part}"' for part in self.name.split("."))
        statement = f"SET LOCAL {name} = {quoted(value)}"
        return f"SET TRANSACTION READ ONLY; {statement}" if read_only else statement

    def select(self, value: str, *, read_only: bool = False) -> str:
        """One SELECT that sets it for the transaction that it is part of, which may be an implicit one. In ASCII."""
        # IS NULL: the value is not needed in the result, and might have no equivalent in the client's encoding.
        columns = [f"pg_catalog.set_config({quoted(self.name)}, {quoted(value)}, true) IS NULL"]
        if read_only:
            columns.append("pg_catalog.set_config('transaction_read_only', 'on', true) IS NULL")
        return f"SELECT {', '.join(columns)}"


def quoted(text: str) -> str:
    """An SQL literal for any text without NUL. It is in ASCII and has the same meaning under any client_encoding and
    standard_conforming_strings, so that no value can end it."""
    if text.isascii() and "\\" not in text and "'" not in text:
        return f"'{text}'"
    escaped = (
        character if character.isascii() else f"\\U{ord(character):08x}"
        for character in text.replace("\\", "\\\\").replace("'", "''")
    )
    return f"E'{''.join(escaped)}'"
