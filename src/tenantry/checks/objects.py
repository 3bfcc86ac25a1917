"""What a step makes, by the name under which a person finds it in the database."""

from __future__ import annotations

from tenantry.model.name import quoted
from tenantry.steps import (
    AdoptionTrigger,
    ApplicationGrants,
    ApplicationRole,
    AssignedRows,
    AssignmentTrigger,
    ContextDefault,
    FollowTrigger,
    ForeignKeyValid,
    GlobalUniqueDropped,
    IndexAttached,
    InvokerView,
    LegacySightEnded,
    NotNull,
    NotNullCheck,
    NotNullCheckValid,
    PartitionedIndex,
    ReferenceTrigger,
    RowSecurity,
    SchemaUsage,
    Step,
    TenantChange,
    TenantColumn,
    TenantForeignKey,
    TenantIndex,
    TenantRow,
    TenantTableMade,
    TriggerEnded,
)  # fmt: skip
from tenantry.steps.assignment import ADOPT, ASSIGN
from tenantry.steps.not_null import CHECK
from tenantry.steps.reference import CHANGE


def object_of(step: Step) -> str:
    """Such as `The index public.tenantry_lots_idx`: the subject of a sentence."""
    match step:
        case AssignmentTrigger() | AdoptionTrigger() | FollowTrigger() | ReferenceTrigger() | TenantChange():
            return f"The trigger {quoted(_trigger(step))} on {step.table} with its function {step.function}"
        case TenantIndex() | PartitionedIndex() | IndexAttached():
            return f"The index {step.index} on {step.table}"
        case TenantForeignKey():
            return f"The foreign key {quoted(step.constraint)} of {step.table}"
        case ForeignKeyValid():
            return f"The proof of the foreign key {quoted(step.constraint)} of {step.table}"
        case NotNullCheck() | NotNullCheckValid():
            return f"The check {quoted(CHECK)} of {step.table}"
        case RowSecurity() | LegacySightEnded():
            return f"The row security of {step.table}"
        case _:
            return _other(step)


def _trigger(step: AssignmentTrigger | AdoptionTrigger | FollowTrigger | ReferenceTrigger | TenantChange) -> str:
    match step:
        case AssignmentTrigger():
            return ASSIGN
        case AdoptionTrigger():
            return ADOPT
        case TenantChange():
            return CHANGE
        case FollowTrigger() | ReferenceTrigger():
            return step.name


def _other(step: Step) -> str:
    match step:
        case TenantTableMade():
            return f"The tenant table {step.table}"
        case TenantRow():
            return f"The tenant {step.slug!r} in {step.table}"
        case AssignedRows():
            return f"The table {step.name}, which says whose the rows of {step.table} are,"
        case TenantColumn():
            return f"The column {quoted(step.column)} of {step.table}"
        case ContextDefault():
            return f"The default of {quoted(step.column)} of {step.table} from the setting {step.setting}"
        case NotNull():
            return f"NOT NULL of {quoted(step.column)} of {step.table}"
        case ApplicationRole():
            return f"The application role {quoted(step.role)}"
        case SchemaUsage():
            return f"USAGE of the schema {quoted(step.table.schema)} for {quoted(step.role)}"
        case ApplicationGrants():
            return f"What {quoted(step.role)} may do with {step.table}"
        case InvokerView():
            return f"security_invoker of the view {step.table}"
        case GlobalUniqueDropped():
            return f"The replacement of the unique index {step.index} by {step.replaced_by}"
        case TriggerEnded():
            return f"The end of the trigger {quoted(step.trigger)} on {step.table}"
        case _:
            return f"On {step.table}: {step.title}"
