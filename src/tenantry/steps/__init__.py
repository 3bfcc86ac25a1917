"""Steps, one kind in each file. A plan is a list of steps; each step is a value that the journal stores as JSON."""

from __future__ import annotations

import marshal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from tenantry.steps.api_keys import ApiKeyReader, ApiKeys, ApiKeyTenants
from tenantry.steps.assignment import AssignmentTrigger, ParentTenantTrigger
from tenantry.steps.balance_functions import BalanceFunctions
from tenantry.steps.balance_leaf import BalanceLeaf
from tenantry.steps.balance_table import BalanceTable
from tenantry.steps.balance_triggers import BalanceTriggers
from tenantry.steps.balance_view import BalanceReader, BalanceView
from tenantry.steps.cascade_trigger import TenantCascadeTrigger
from tenantry.steps.citus_foreign_key import AttachForeignKey, DetachForeignKey, ValidateAttachedKey
from tenantry.steps.citus_identity import IdentityToDefault
from tenantry.steps.citus_setting import PropagateTenant
from tenantry.steps.citus_table import CheckShards, DistributeTable, EmptyLocalTable
from tenantry.steps.colocated_key import ColocatedForeignKey, DropForeignKey, ValidateColocatedKey
from tenantry.steps.column import AddTenantColumn, ContextDefault
from tenantry.steps.defer import ParentsDeferred, TenantsDeferred
from tenantry.steps.drop_trigger import DropTrigger, DropUserTrigger
from tenantry.steps.fill import AssignedRows, Backfill, RelationFill
from tenantry.steps.foreign_key import TenantForeignKey, ValidateForeignKey
from tenantry.steps.index import AttachPartitionIndex, PartitionedIndex, TenantIndex
from tenantry.steps.not_null import NotNullCheck, SetNotNull, ValidateNotNullCheck
from tenantry.steps.reference import ReferenceTrigger, TenantChange, ValidateReferences
from tenantry.steps.role import ApplicationGrants, ApplicationRole, FunctionGrant, SchemaUsage
from tenantry.steps.row_security import DirectPolicies, DropLegacyPolicies, RowSecurity
from tenantry.steps.sentinel import (
    DropSharedUnique,
    SentinelDefault,
    SentinelFill,
    SentinelPolicies,
    SentinelRow,
)
from tenantry.steps.step import Before, Step
from tenantry.steps.tenants import CreateTenantTable, TenantRow
from tenantry.steps.unique import DropGlobalUnique, WidenKey
from tenantry.steps.view import InvokerView

AnyStep = Annotated[
    CreateTenantTable | TenantRow | AssignedRows | AddTenantColumn | AssignmentTrigger | ParentTenantTrigger
    | TenantCascadeTrigger | Backfill | TenantIndex | PartitionedIndex | AttachPartitionIndex | NotNullCheck
    | ValidateNotNullCheck | SetNotNull | TenantForeignKey | ValidateForeignKey | ReferenceTrigger
    | ValidateReferences | TenantChange | ApplicationRole | SchemaUsage | ApplicationGrants | FunctionGrant
    | ContextDefault | RowSecurity | InvokerView | ParentsDeferred | TenantsDeferred | DropGlobalUnique
    | DropLegacyPolicies | DropTrigger | BalanceTable | BalanceFunctions | BalanceTriggers | BalanceView
    | BalanceReader | BalanceLeaf | ApiKeys | ApiKeyTenants | ApiKeyReader | DirectPolicies | DropForeignKey
    | ColocatedForeignKey | ValidateColocatedKey | WidenKey | DropUserTrigger | SentinelRow | SentinelFill
    | SentinelDefault | SentinelPolicies | DropSharedUnique
    | DetachForeignKey | DistributeTable | EmptyLocalTable | AttachForeignKey | ValidateAttachedKey | CheckShards
    | PropagateTenant | IdentityToDefault,
    Field(discriminator="kind"),
]  # fmt: skip

_adapter: TypeAdapter[AnyStep] = TypeAdapter(AnyStep)


def to_json(step: Step) -> Any:
    """The step as plain JSON data."""
    return _adapter.dump_python(step, mode="json")  # type: ignore[arg-type]


def from_json(data: Any) -> Step:
    """The step that `to_json` wrote. Raises ValueError if the data describes no step."""
    try:
        text = marshal.dumps(data, 2)
    except ValueError:  # no JSON
        return _adapter.validate_python(data)
    return _read(text)


@lru_cache(maxsize=1 << 16)
def _read(text: bytes) -> Step:
    """Cached, because a run reads each step of the journal many times."""
    return _adapter.validate_python(marshal.loads(text))


__all__ = [
    "AddTenantColumn",
    "ApiKeyReader",
    "ApiKeyTenants",
    "ApiKeys",
    "ApplicationGrants",
    "ApplicationRole",
    "AssignedRows",
    "AssignmentTrigger",
    "AttachForeignKey",
    "AttachPartitionIndex",
    "Backfill",
    "BalanceFunctions",
    "BalanceLeaf",
    "BalanceReader",
    "BalanceTable",
    "BalanceTriggers",
    "BalanceView",
    "Before",
    "CheckShards",
    "ColocatedForeignKey",
    "ContextDefault",
    "CreateTenantTable",
    "DetachForeignKey",
    "DirectPolicies",
    "DistributeTable",
    "DropForeignKey",
    "DropGlobalUnique",
    "DropLegacyPolicies",
    "DropSharedUnique",
    "DropTrigger",
    "DropUserTrigger",
    "EmptyLocalTable",
    "FunctionGrant",
    "IdentityToDefault",
    "InvokerView",
    "NotNullCheck",
    "ParentTenantTrigger",
    "ParentsDeferred",
    "PartitionedIndex",
    "PropagateTenant",
    "ReferenceTrigger",
    "RelationFill",
    "RowSecurity",
    "SchemaUsage",
    "SentinelDefault",
    "SentinelFill",
    "SentinelPolicies",
    "SentinelRow",
    "SetNotNull",
    "Step",
    "TenantCascadeTrigger",
    "TenantChange",
    "TenantForeignKey",
    "TenantIndex",
    "TenantRow",
    "TenantsDeferred",
    "ValidateAttachedKey",
    "ValidateColocatedKey",
    "ValidateForeignKey",
    "ValidateNotNullCheck",
    "ValidateReferences",
    "WidenKey",
    "from_json",
    "to_json",
]  # fmt: skip
