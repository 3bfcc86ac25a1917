"""The application role moves stock by the ledger itself, and not by a partition of it (hazard 19)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.ledger import Ledger
from tenantry.model.name import Name
from tenantry.model.plan import Statement
from tenantry.steps.access import entries
from tenantry.steps.role import ApplicationGrants
from tenantry.steps.step import Before, Step

WRITES = ("INSERT", "UPDATE", "DELETE")


def rights_on(leaf: Name, role: str) -> sql.Composed:
    """A query of what a role was given to write to a partition or its columns: (privilege, grantor)."""
    return sql.SQL(
        "SELECT DISTINCT e.privilege, e.grantor FROM ({}) AS e WHERE e.grantee = {} AND e.privilege = ANY ({}::text[])"
        " ORDER BY 1, 2"
    ).format(entries(leaf), sql.Literal(role), sql.Literal(list(WRITES)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceLeaf(Step):
    """REVOKE what the application role was given to write to one partition. What others write there counts, since the
    partition has triggers; but a role with such rights would write past the balances to a partition that is made and
    has none yet. `revokes` are (privilege, grantor)."""

    kind: Literal["balance_leaf"] = "balance_leaf"
    ledger: Ledger
    leaf: Name
    role: str
    revokes: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        return f"balance_leaf:{self.leaf}"

    @property
    def title(self) -> str:
        return f"let {self.role} write to {self.leaf} by {self.table} alone"

    @property
    def note(self) -> str:
        return f"a statement of {self.role} that names {self.leaf} itself fails from now on"

    @property
    def _grants(self) -> ApplicationGrants:
        return ApplicationGrants(phase=self.phase, table=self.leaf, role=self.role, grants=(), revokes=self.revokes)

    def definition(self) -> sql.Composable:
        return self._grants.definition()

    def record(self) -> sql.Composable:
        return self._grants.record()

    def apply(self) -> tuple[Statement, ...]:
        return self._grants.apply()

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return self._grants.revert(before)
