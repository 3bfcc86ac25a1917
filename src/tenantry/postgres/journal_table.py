"""Tables of the journal that are created when they are first needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import psycopg

from tenantry.postgres.journal import revoke_default_privileges
from tenantry.postgres.queries import ConstantQuery


class JournalTable:
    """Reads and writes over one connection; writes are part of the open transaction, if any.

    Of its `queries`, `schema` creates what does not exist, and `installed` is whether that exists.
    """

    queries: ClassVar[Mapping[str, ConstantQuery]]

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def install(self) -> None:
        """Create what does not exist, in the journal's schema, which must exist."""
        with self.connection.transaction():
            self.connection.execute(self.queries["schema"])
            revoke_default_privileges(self.connection)

    @property
    def installed(self) -> bool:
        row = self.connection.execute(self.queries["installed"]).fetchone()
        return bool(row is not None and row[0])
