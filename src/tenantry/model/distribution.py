"""How a table's rows are spread over the tenants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from tenantry.model.name import Name

LARGEST = 20
"""The number of tenants that are named, those with the most rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The rows of one table, by tenant.

    `rows` counts all of them, `without_tenant` those without one. `tenants` counts the tenants that have rows, `empty`
    those that have none, None if those were not counted. `largest` are the tenants with the most rows, by slug or key;
    `typical` is the median number of rows of the tenants that have some.
    """

    table: Name
    rows: int
    without_tenant: int = 0
    tenants: int = 0
    empty: int | None = None
    largest: tuple[tuple[str, int], ...] = ()
    typical: float = 0.0

    @classmethod
    def of(
        cls, table: Name, counts: Mapping[str | None, int], slugs: Mapping[str, str], sentinel: str | None = None
    ) -> Distribution:  # fmt: skip
        """From the number of rows by the tenant's key as text, None for rows without one; `slugs` maps the keys of all
        tenants. Rows with the key `sentinel` belong to all tenants, and count as rows without a tenant."""
        told = {key: count for key, count in counts.items() if key not in (None, sentinel)}
        slugs = {key: slug for key, slug in slugs.items() if key != sentinel}
        largest = sorted(told.items(), key=lambda item: (-item[1], item[0]))[:LARGEST]
        return cls(
            table=table, rows=sum(counts.values()), tenants=len(told),
            without_tenant=sum(count for key, count in counts.items() if key not in told),
            empty=len(slugs.keys() - told.keys()), typical=float(median(told.values())) if told else 0.0,
            largest=tuple((slugs.get(key, key), count) for key, count in largest),
        )  # fmt: skip

    @property
    def share(self) -> float:
        """The share of the largest tenant in the rows that have a tenant."""
        owned = self.rows - self.without_tenant
        return self.largest[0][1] / owned if owned else 0.0
