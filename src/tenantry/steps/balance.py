"""The part that all steps of `balances install` share: the ledger whose balances they maintain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from tenantry.model.ledger import Ledger
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceStep(Step):
    """A step of a ledger's balances. `balances install` applies it for the first time and `balances remove` reverts it;
    in between it is part of the plan. `inspected` is its name in the output of `balances validate`, with the texts for
    when it is applied and when it is not."""

    ledger: Ledger
    inspected: ClassVar[tuple[str, str, str]]
    in_place = True

    def renamed(self, names: StaticNames) -> Self:
        """Balances keep the names that the columns had at first, so that readers of the view go on working."""
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
        """Which one it is, among several steps with the same name."""
        return ""

    @property
    def fires(self) -> Mapping[str, str]:
        """How each trigger that it creates on the relations of the ledger fires, by trigger name."""
        return {}
