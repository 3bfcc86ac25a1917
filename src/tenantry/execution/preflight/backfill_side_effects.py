"""Side effects of an in-place backfill: triggers and rules on UPDATE (hazards 2 and 5)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tenantry.execution.preflight.findings import noted, refused
from tenantry.execution.preflight.scope import Scope
from tenantry.execution.preflight.sql_statements import acts
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.model.schema import Trigger
from tenantry.postgres.server_state import NarrowedTrigger, ServerState
from tenantry.steps.assignment import ASSIGN

FIRES = ("O", "A")
"""pg_trigger.tgenabled of triggers that fire in an ordinary session."""
CONSTANT = "if one tenant owns all rows, set `assign = { tenant = … }`, which updates no row"
_UNCHANGED = re.compile(
    r"""\(*old\.(?P<column>"(?:[^"]|"")+"|[\w$]+)\)*(?:::[\w ]+(?:\(\d+\))?)?\)*
        \s+(?:IS\ DISTINCT\ FROM|<>)\s+
        \(*new\.(?P=column)\)*(?:::[\w ]+(?:\(\d+\))?)?""",
    re.VERBOSE | re.IGNORECASE,
)


def row_findings(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    yield from _sorted_last(scope)
    narrowed = {(trigger.table, trigger.name): trigger for trigger in facts.narrowed}
    told: set[tuple[Name, str]] = set()
    for name in sorted(scope.fills):
        for trigger in scope.schema.tables[name].triggers:
            origin = _origin(scope, name, trigger)
            fires = trigger.enabled in FIRES and "UPDATE" in trigger.events
            if fires and (origin, trigger.name) not in told and not _passed_by(narrowed.get((name, trigger.name))):
                told.add((origin, trigger.name))
                yield from _trigger(origin, trigger)
    yield from _rules(scope, facts)


def _origin(scope: Scope, name: Name, trigger: Trigger) -> Name:
    """The table that the trigger was created on; its partitions have copies of the trigger."""
    found = name
    for ancestor in scope.schema.lineage(name):
        table = scope.schema.tables.get(ancestor)
        if table is None or all(trigger.name != other.name for other in table.triggers):
            break
        found = ancestor
    return found


def _passed_by(trigger: NarrowedTrigger | None) -> bool:
    """True if an UPDATE of the tenant alone does not fire it."""
    if trigger is None:
        return False
    return trigger.on_columns or (trigger.definition is not None and _only_changes(trigger.definition))


def _only_changes(definition: str) -> bool:
    """True if its WHEN only compares columns that a backfill does not change."""
    condition = definition[definition.rfind(" WHEN (") : definition.rfind(" EXECUTE ")].removeprefix(" WHEN ")
    rest, changes = _UNCHANGED.subn("", condition)
    return changes > 0 and not set(re.findall(r"[^\s()]+", rest)) - {"AND", "OR"}


def _sorted_last(scope: Scope) -> Iterator[Finding]:
    """Triggers fire in the byte order of their names."""
    for name in sorted((scope.assigned | set(scope.fills)).intersection(scope.schema.tables)):
        for trigger in scope.schema.tables[name].triggers:
            fires = trigger.before and trigger.row and trigger.enabled in FIRES
            late = trigger.name.encode() > ASSIGN.encode() and {"INSERT", "UPDATE"}.intersection(trigger.events)
            if fires and late and _origin(scope, name, trigger) == name:
                yield refused(
                    name="trigger-sorts-last",
                    table=name,
                    forcible=False,
                    message=f"The trigger {trigger.name} on {name} fires after {ASSIGN}, and could change the columns"
                    " that the tenant was derived from",
                    remedy=f"ALTER TRIGGER {quoted(trigger.name)} ON {name} RENAME TO a name that sorts before"
                    f" {ASSIGN}",
                )


def _trigger(table: Name, trigger: Trigger) -> Iterator[Finding]:
    where = f"{trigger.name} on {table}"
    if not trigger.before:
        kind = "constraint trigger" if trigger.constraint else "trigger"
        each = "row" if trigger.row else "batch"
        yield refused(
            name="fill-fires-after-trigger",
            table=table,
            message=f"The {kind} {where} calls {trigger.function} after UPDATE, and so for each {each} of the backfill",
            remedy=f"{CONSTANT}; or check that the trigger may fire for all rows",
        )
    elif (act := acts(trigger.source, row=trigger.row)) is not None:
        yield refused(
            name="fill-fires-before-trigger",
            table=table,
            message=f"The trigger {where} does more than change its row ({act}), and fires for the backfill, too",
            remedy=f"{CONSTANT}; or check that the trigger allows the backfill's updates",
        )
    elif trigger.row:
        yield noted(
            name="fill-undoes-before-trigger",
            table=table,
            message=f"The trigger {where} fires for the backfill, which then restores the columns that it changes",
        )


def _rules(scope: Scope, facts: ServerState) -> Iterator[Finding]:
    for rule in facts.rules:
        if rule.table not in scope.fills or rule.event not in ("UPDATE", "INSERT"):
            continue
        if rule.event == "INSERT" and not rule.instead:
            continue
        update = rule.event == "UPDATE"
        does = "replaces" if rule.instead else "adds to"
        what = "the backfill's updates" if update else "inserts, whose rows then get no tenant from the trigger"
        yield refused(
            name=f"rule-on-{rule.event.lower()}",
            table=rule.table,
            forcible=not (update and rule.instead),
            message=f"The rule {rule.name} on {rule.table} {does} {what}",
            remedy=f"ALTER TABLE {rule.table} DISABLE RULE {quoted(rule.name)}, or replace it by a trigger",
        )
