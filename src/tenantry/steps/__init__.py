"""Steps: one kind, one file. A plan is a list of them; each is a value, which the journal holds as JSON."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from tenantry.steps.assignment import AdoptionTrigger, AssignmentTrigger
from tenantry.steps.balance_functions import BalanceFunctions
from tenantry.steps.balance_leaf import BalanceLeaf
from tenantry.steps.balance_table import BalanceTable
from tenantry.steps.balance_triggers import BalanceTriggers
from tenantry.steps.balance_view import BalanceReader, BalanceView
from tenantry.steps.column import ContextDefault, TenantColumn
from tenantry.steps.contract import TriggerEnded
from tenantry.steps.defer import ParentsDeferred, TenantsDeferred
from tenantry.steps.fill import AssignedRows, Fill, RelationFill
from tenantry.steps.follow import FollowTrigger
from tenantry.steps.index import IndexAttached, PartitionedIndex, TenantIndex
from tenantry.steps.keys import ForeignKeyValid, TenantForeignKey
from tenantry.steps.not_null import NotNull, NotNullCheck, NotNullCheckValid
from tenantry.steps.reference import ReferenceProof, ReferenceTrigger, TenantChange
from tenantry.steps.role import ApplicationGrants, ApplicationRole, FunctionGrant, SchemaUsage
from tenantry.steps.row_security import LegacySightEnded, RowSecurity
from tenantry.steps.step import Before, Step
from tenantry.steps.tenants import TenantRow, TenantTableMade
from tenantry.steps.unique import GlobalUniqueDropped
from tenantry.steps.view import InvokerView

AnyStep = Annotated[
    TenantTableMade | TenantRow | AssignedRows | TenantColumn | AssignmentTrigger | AdoptionTrigger | FollowTrigger
    | Fill | TenantIndex | PartitionedIndex | IndexAttached | NotNullCheck | NotNullCheckValid | NotNull
    | TenantForeignKey | ForeignKeyValid | ReferenceTrigger | ReferenceProof | TenantChange | ApplicationRole
    | SchemaUsage | ApplicationGrants | FunctionGrant | ContextDefault | RowSecurity | InvokerView | ParentsDeferred
    | TenantsDeferred
    | GlobalUniqueDropped | LegacySightEnded | TriggerEnded | BalanceTable | BalanceFunctions | BalanceTriggers
    | BalanceView | BalanceReader | BalanceLeaf,
    Field(discriminator="kind"),
]  # fmt: skip

_adapter: TypeAdapter[AnyStep] = TypeAdapter(AnyStep)


def to_json(step: Step) -> Any:
    """The step as plain JSON data."""
    return _adapter.dump_python(step, mode="json")  # type: ignore[arg-type]


def from_json(data: Any) -> Step:
    """The step that `to_json` wrote."""
    return _adapter.validate_python(data)


__all__ = [
    "AdoptionTrigger", "ApplicationGrants", "ApplicationRole", "AssignedRows", "AssignmentTrigger", "BalanceFunctions",
    "BalanceLeaf", "BalanceReader", "BalanceTable", "BalanceTriggers", "BalanceView", "Before", "ContextDefault",
    "Fill", "FollowTrigger", "ForeignKeyValid", "FunctionGrant", "GlobalUniqueDropped", "IndexAttached", "InvokerView",
    "LegacySightEnded", "NotNull", "NotNullCheck", "NotNullCheckValid", "ParentsDeferred", "PartitionedIndex",
    "ReferenceProof", "ReferenceTrigger", "RelationFill", "RowSecurity", "SchemaUsage", "Step", "TenantChange",
    "TenantColumn", "TenantForeignKey", "TenantIndex", "TenantRow", "TenantTableMade", "TenantsDeferred",
    "TriggerEnded", "from_json", "to_json",
]  # fmt: skip
