"""The application role writes to the ledger itself, and not to a partition of it directly (hazard 19)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.plan import Statement
from tenantry.model.schema import Grant
from tenantry.steps.acl import entries
from tenantry.steps.balance import BalanceStep
from tenantry.steps.role import ApplicationGrants
from tenantry.steps.step import Before

WRITES = ("INSERT", "UPDATE", "DELETE")
_RIGHTS = sql.SQL("""SELECT DISTINCT leaf.number::integer - 1, e.privilege_type,
  pg_catalog.pg_get_userbyid(e.grantor)::text
FROM pg_catalog.unnest(ARRAY[{leaves}]::oid[]) WITH ORDINALITY AS leaf(relation, number)
JOIN (SELECT c.oid, c.relacl FROM pg_catalog.pg_class c UNION ALL
  SELECT a.attrelid, a.attacl FROM pg_catalog.pg_attribute a WHERE NOT a.attisdropped) AS list(relation, acl)
  USING (relation)
CROSS JOIN LATERAL pg_catalog.aclexplode(list.acl) AS e
JOIN pg_catalog.pg_roles r ON r.oid = e.grantee AND r.rolname = {role}
WHERE e.privilege_type = ANY ({writes}::text[]) ORDER BY 1, 2, 3""")


def rights_on(leaves: Sequence[Name], role: str) -> sql.Composed:
    """A query of the privileges to write to partitions or their columns that a role was granted: (place in `leaves`,
    privilege, grantor)."""
    oids = sql.SQL(", ").join(leaf.oid for leaf in leaves)
    return _RIGHTS.format(leaves=oids, role=sql.Literal(role), writes=sql.Literal(list(WRITES)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceLeaf(BalanceStep):
    """REVOKE the application role's privileges to write to one partition directly. Writes of other roles there are
    counted, since the partition has triggers; but a role with such privileges could write, without being counted, to a
    new partition that has no triggers yet. `table` is the partition; `revokes` are (privilege, grantor)."""

    kind: Literal["balance_leaf"] = "balance_leaf"
    role: str
    revokes: tuple[tuple[str, str], ...]
    inspected = (
        "rights", "the application writes to the ledger, and not to its partitions", "it may write to its partitions",
    )  # fmt: skip
    in_place = False
    of_role = True

    @property
    def key(self) -> str:
        return f"balance_leaf:{self.table}"

    @property
    def title(self) -> str:
        return f"let {self.role} write to {self.table} only through {self.ledger.table}"

    @property
    def subject(self) -> str:
        return f"The revoked right of {self.role} to write to {self.table} directly"

    @property
    def place(self) -> str:
        return str(self.table)

    @property
    def note(self) -> str:
        return f"a statement of {self.role} that names {self.table} itself fails from now on"

    @property
    def given_to(self) -> None:
        return None

    @property
    def acts_as(self) -> tuple[str, ...]:
        return self._grants.acts_as

    @property
    def _grants(self) -> ApplicationGrants:
        return ApplicationGrants(phase=self.phase, table=self.table, role=self.role, grants=(), revokes=self.revokes)

    def wants(self) -> str:
        """That the role has no such privilege: which ones it has had before is not part of it."""
        return f"{self.key}:{self.role}"

    def original_grants(self, grants: tuple[Grant, ...], before: Before) -> tuple[Grant, ...]:
        return self._grants.original_grants(grants, before)

    def definition(self) -> sql.Composable:
        return sql.SQL(
            "SELECT 'by the ledger' WHERE NOT EXISTS (SELECT FROM ({entries}) AS e"
            " WHERE e.grantee = {role} AND e.privilege = ANY ({revokes}::text[]))"
        ).format(
            entries=entries(self.table), role=sql.Literal(self.role),
            revokes=sql.Literal([privilege for privilege, _ in self.revokes]),
        )  # fmt: skip

    def record(self) -> sql.Composable:
        return self._grants.record()

    def apply(self) -> tuple[Statement, ...]:
        return self._grants.apply()

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return self._grants.revert(before)
