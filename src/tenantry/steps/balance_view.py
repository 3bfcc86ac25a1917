"""The view with which readers query balances, and the privileges on it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from tenantry.model.ledger import Ledger, TenantColumn
from tenantry.model.name import Name
from tenantry.model.plan import Lock, LockMode, Statement
from tenantry.steps.balance import BalanceStep
from tenantry.steps.balance_functions import MOVE
from tenantry.steps.introspection import exists, identifiers
from tenantry.steps.movement import shown
from tenantry.steps.naming import NAMES
from tenantry.steps.row_security import LEGACY, OPERATOR
from tenantry.steps.step import Before
from tenantry.steps.tenant_setting import current_tenant

# One branch for the tenant and one for roles that see all rows: separate, so that the tenant's condition is an index
# condition. The branch that does not apply is removed by a one-time filter. security_barrier: a cheap function of the
# reader sees no row of another tenant.
_VIEW = sql.SQL("""CREATE OR REPLACE VIEW {view} WITH (security_barrier) AS
SELECT {key}, {quantity} AS quantity, {total_in} AS total_in, {total_out} AS total_out,
  sum(row.movements)::bigint AS movements, max(row.last_movement) AS last_movement,
  sum(row.version)::bigint AS version,
  coalesce((SELECT known.stale FROM tenantry.ledgers AS known WHERE known.ledger = {ledger}), true) OR {lost} AS stale
FROM (
  SELECT everybody.* FROM {storage} AS everybody WHERE (SELECT {free}){own}
) AS row
GROUP BY {key}
HAVING sum(row.movements) <> 0""")
# If a column by which the triggers count a movement is gone, they leave movements out.
_LOST = sql.SQL(
    "EXISTS (SELECT FROM {names} AS known LEFT JOIN pg_catalog.pg_attribute AS a"
    " ON a.attrelid = known.relation::pg_catalog.oid AND a.attnum = known.attnum AND NOT a.attisdropped"
    " WHERE known.own = {table} AND known.trigger = {purpose} AND known.name IS NOT NULL AND a.attnum IS NULL)"
)
# A role that row-level security does not filter on the ledger, or to which a policy of tenantry's shows all rows, sees
# all balances.
_FREE = sql.SQL(
    "NOT pg_catalog.row_security_active({ledger}) OR EXISTS (SELECT FROM pg_catalog.pg_policy AS policy"
    " CROSS JOIN LATERAL pg_catalog.unnest(policy.polroles) AS named(role)"
    " WHERE policy.polrelid = {ledger} AND policy.polname IN ({names})"
    " AND pg_catalog.pg_has_role(named.role, 'usage'))"
)


def sees_all(ledger: Ledger) -> sql.Composed:
    """A condition: row-level security hides no row of the ledger from the current role."""
    names = sql.SQL(", ").join(map(sql.Literal, (OPERATOR, LEGACY)))
    return _FREE.format(ledger=ledger.table.regclass, names=names)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceView(BalanceStep):
    """CREATE VIEW: sums over the slots, without keys that have no movements, and only a tenant's own rows.

    It runs with the rights of its owner, since no other role has any on the table, and checks the reader's itself: a
    reader who is under row-level security on the ledger is so here. Before PostgreSQL 15 there is no security_invoker;
    this way works in all versions and follows the ledger if it is isolated later.
    """

    kind: Literal["balance_view"] = "balance_view"
    inspected = ("view", "the view that readers query", "is missing or was altered")

    @property
    def key(self) -> str:
        return f"balance_view:{self.table}"

    @property
    def title(self) -> str:
        return f"create the view {self.ledger.balance}, which readers query"

    @property
    def subject(self) -> str:
        return f"The view {self.ledger.balance}"

    @property
    def makes(self) -> Name:
        return self.ledger.balance

    def view(self) -> sql.Composed:
        """The statement that creates the view."""
        ledger, free = self.ledger, sees_all(self.ledger)
        return _VIEW.format(
            quantity=shown("quantity", "sum(row.{})"), total_in=shown("total_in", "sum(row.{})"),
            total_out=shown("total_out", "sum(row.{})"), view=ledger.balance.identifier,
            storage=ledger.storage.identifier, free=free,
            key=identifiers(ledger.columns, sql.SQL("row")), ledger=sql.Literal(ledger.called),
            own=sql.SQL("") if ledger.tenant is None else self._own(ledger.tenant, free),
            lost=_LOST.format(names=NAMES.identifier, table=ledger.table.regclass, purpose=sql.Literal(MOVE)),
        )  # fmt: skip

    def _own(self, tenant: TenantColumn, free: sql.Composed) -> sql.Composed:
        column = sql.SQL("own.{}").format(sql.Identifier(tenant.name))
        condition = sql.SQL("{} = {}").format(column, current_tenant(tenant.setting, tenant.type))
        if tenant.mixed:
            condition = sql.SQL("({} OR {} IS NULL)").format(condition, column)
        if tenant.quarantine is not None:
            table, key, slug, name = tenant.quarantine
            condition = sql.SQL(
                "{} AND {} IS DISTINCT FROM (SELECT aside.{} FROM {} AS aside WHERE aside.{} = {})"
            ).format(condition, column, sql.Identifier(key), table.identifier, sql.Identifier(slug), sql.Literal(name))
        return sql.SQL("\n  UNION ALL\n  SELECT own.* FROM {} AS own WHERE NOT (SELECT {}) AND {}").format(
            self.ledger.storage.identifier, free, condition
        )

    @property
    def comment(self) -> str:
        """The comment by which the view is recognised as the wanted one."""
        digest = hashlib.sha256(self.view().as_string(None).encode()).hexdigest()[:12]
        return f"Balances of {self.ledger.table}, maintained by tenantry ({digest})"

    def definition(self) -> sql.Composable:
        return sql.SQL(
            "SELECT pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.pg_class c"
            " WHERE c.oid = {} AND c.relkind = 'v' AND pg_catalog.pg_get_userbyid(c.relowner) = {}"
            " AND c.reloptions @> '{{security_barrier=true}}'"
            " AND pg_catalog.obj_description(c.oid, 'pg_class') = {}"
        ).format(self.ledger.balance.oid, sql.Literal(self.ledger.owner), sql.Literal(self.comment))

    def apply(self) -> tuple[Statement, ...]:
        view = self.ledger.balance.identifier
        foreign = sql.SQL("SELECT current_user <> {}").format(sql.Literal(self.ledger.owner))
        comment = sql.SQL("COMMENT ON VIEW {} IS {}").format(view, sql.Literal(self.comment))
        give = sql.SQL("ALTER VIEW {} OWNER TO {}").format(view, sql.Identifier(self.ledger.owner))
        return (
            Statement(sql=self.view()),
            Statement(sql=give, when=foreign),
            Statement(sql=comment),
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        view = self.ledger.balance
        there = exists(
            sql.SQL("SELECT FROM pg_catalog.pg_class c WHERE c.oid = {} AND c.relkind = 'v'").format(view.oid)
        )
        return (
            Statement(
                sql=sql.SQL("DROP VIEW IF EXISTS {}").format(view.identifier), when=there,
                locks=(Lock(view, LockMode.ACCESS_EXCLUSIVE),),
            ),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceReader(BalanceStep):
    """GRANT SELECT on the view to a role that may read the ledger."""

    kind: Literal["balance_reader"] = "balance_reader"
    role: str
    """Empty for PUBLIC."""
    inspected = ("reader", "who may read the ledger may read the view", "this role may not")
    in_place = False
    of_role = True

    @property
    def key(self) -> str:
        return f"balance_reader:{self.table}:{self.role}"

    @property
    def title(self) -> str:
        return f"let {self._called} read {self.ledger.balance}, because it may read the ledger"

    @property
    def subject(self) -> str:
        return f"The right of {self._called} to read {self.ledger.balance}"

    @property
    def place(self) -> str:
        return self._called

    @property
    def given_to(self) -> None:
        return None

    @property
    def _called(self) -> str:
        return self.role or "PUBLIC"

    @property
    def _grantee(self) -> sql.Composable:
        return sql.Identifier(self.role) if self.role else sql.SQL("PUBLIC")

    def definition(self) -> sql.Composable:
        grantee = sql.SQL("r.rolname = {}").format(sql.Literal(self.role)) if self.role else sql.SQL("e.grantee = 0")
        return sql.SQL(
            "SELECT 'reader' FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS e"
            " LEFT JOIN pg_catalog.pg_roles r ON r.oid = e.grantee"
            " WHERE c.oid = {} AND e.privilege_type = 'SELECT' AND {}"
        ).format(self.ledger.balance.oid, grantee)

    def apply(self) -> tuple[Statement, ...]:
        view = self.ledger.balance.identifier
        return (Statement(sql=sql.SQL("GRANT SELECT ON {} TO {}").format(view, self._grantee)),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        """A role that may no longer read the ledger must not read its balances either."""
        view = self.ledger.balance
        role = exists(sql.SQL("SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = {}").format(sql.Literal(self.role)))
        there = sql.SQL("SELECT {} IS NOT NULL AND ({} OR ({}))").format(view.oid, sql.Literal(not self.role), role)
        revoke = sql.SQL("REVOKE SELECT ON {} FROM {}").format(view.identifier, self._grantee)
        return (Statement(sql=revoke, when=there),)
