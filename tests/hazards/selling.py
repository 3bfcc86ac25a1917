"""A business whose sales find their tenant over stores and regions, and somebody who acts while it is migrated."""

from __future__ import annotations

from collections.abc import Callable

from tenantry.execution.events import Event, FillAdvanced, FillPaused, StepEvent
from tenantry.model.name import Name

SHOP = """
CREATE TABLE regions (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants);
CREATE TABLE stores (id integer PRIMARY KEY, region_id integer NOT NULL REFERENCES regions, sold integer DEFAULT 0);
CREATE TABLE sales (id integer PRIMARY KEY, store_id integer NOT NULL REFERENCES stores, note text);
INSERT INTO regions VALUES (1, 1), (2, 2);
INSERT INTO stores VALUES (1, 1), (2, 2);
INSERT INTO sales SELECT n, 1 + n % 2, repeat('x', 100) FROM generate_series(1, 5000) AS n;
"""
TABLES = """
[[table]]
name = "regions"
paths = [["tenant_id"]]
[[table]]
name = "stores"
paths = [["region_id"]]
[[table]]
name = "sales"
paths = [["store_id"]]
"""
SALES = Name("public", "sales")


class Meanwhile:
    """Acts once: when a step begins, or after the first batch of a fill; keeps what is said about pauses."""

    def __init__(self, action: Callable[[], None], *, step: str = "", batches_of: Name | None = None) -> None:
        self.action, self.key, self.relation = action, step, batches_of
        self.acted = False
        self.reasons: list[str] = []

    def __call__(self, event: Event) -> None:
        match event:
            case StepEvent():
                if self.key and event.step.key == self.key and event.action == "started":
                    self._act()
            case FillAdvanced(relation):
                if relation == self.relation:
                    self._act()
            case FillPaused(reason):
                self.reasons.append(reason)

    def _act(self) -> None:
        if not self.acted:
            self.acted = True
            self.action()
