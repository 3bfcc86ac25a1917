"""What the steps of `balances install` share: the ledger whose balances they keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from tenantry.model.ledger import Ledger
from tenantry.steps.naming import Written
from tenantry.steps.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceStep(Step):
    """`balances install` puts it in force for the first time, and `balances remove` takes it away; in between it is a
    part of the plan. `inspected` is how `balances validate` calls it, what it says where it is in force, and what is
    wrong where it is not."""

    ledger: Ledger
    inspected: ClassVar[tuple[str, str, str]]
    in_place = True

    def renamed(self, names: Written) -> Self:
        """Balances keep the names that their columns had: readers go on with them."""
        key = tuple(
            replace(column, source="" if now == column.name else now)
            for column in self.ledger.key
            for now in (names.column(self.ledger.table, column.in_ledger),)
        )
        quantity = names.column(self.ledger.table, self.ledger.quantity)
        return replace(self, ledger=replace(self.ledger, key=key, quantity=quantity))

    @property
    def keeps(self) -> Ledger:
        return self.ledger

    @property
    def given_to(self) -> str | None:
        return self.ledger.owner

    @property
    def place(self) -> str:
        """Of several that are called the same: which one it is."""
        return ""

    @property
    def fires(self) -> Mapping[str, str]:
        """Of the triggers that it puts on each of the ledger's relations: how each fires, by its name."""
        return {}
