"""Work on the rows of all tenants, on a connection of the operator, which has its own role and DSN.

    with psycopg.connect(OPERATOR_DSN) as connection, as_operator(connection, "close the month"):
        connection.execute("UPDATE orders SET …")

Each use is logged with its reason, by the logger "tenantry_app.operator".
"""

from __future__ import annotations

import logging
from typing import Any

from tenantry_app.roles import operator, operator_async

_LOG = logging.getLogger("tenantry_app.operator")


class as_operator:  # noqa: N801 - it reads as a verb
    """A block that works on the rows of all tenants; `async with` for asynchronous connections.

    `connection`: as for check and check_async. `reason`: one line for the log, which also has the role. `column`: the
    tenant column. Entering returns the connection; it raises OperatorRequired if the role does not see the rows of all
    tenants, or finds no table with that column. ValueError if the reason is empty, or more than one line.
    """

    def __init__(self, connection: Any, reason: str, *, column: str = "tenant_id") -> None:
        if not reason.strip() or not reason.isprintable():
            raise ValueError("the reason, which is written to the log, has to be one line of text, and not empty")
        self._connection, self._reason, self._column = connection, reason, column

    def __enter__(self) -> Any:
        self._log(operator(self._connection, self._column))
        return self._connection

    async def __aenter__(self) -> Any:
        self._log(await operator_async(self._connection, self._column))
        return self._connection

    def __exit__(self, *error: object) -> None:
        pass

    async def __aexit__(self, *error: object) -> None:
        pass

    def _log(self, role: str) -> None:
        more = {"role": role, "reason": self._reason}
        _LOG.info("%s works on the rows of all tenants: %s", role, self._reason, extra=more)
