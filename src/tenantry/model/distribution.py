"""How a table's rows are spread over the tenants."""

from __future__ import annotations

from dataclasses import dataclass

from tenantry.model.name import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The rows of one table, by tenant.

    `rows` counts all of them, `without_tenant` those without one. `tenants` counts the tenants that have rows, `empty`
    those that have none, None where that was not asked. `largest` are the tenants with the most rows, by slug or key.
    """

    table: Name
    rows: int
    without_tenant: int = 0
    tenants: int = 0
    empty: int | None = None
    largest: tuple[tuple[str, int], ...] = ()
