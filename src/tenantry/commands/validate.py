"""validate: is every step applied, and is every row in its tenant?"""

from __future__ import annotations

from tenantry.checks.families import VALIDATION
from tenantry.commands.inspection import InspectionOptions, inspect
from tenantry.execution.events import Observer
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.postgres.connect import Target

NEXT = "Run `tenantry verify`, which checks the business rules."


def validate(
    target: Target, spec: Spec, options: InspectionOptions | None = None, observer: Observer | None = None
) -> Verdict:
    """Check that every step is applied as tenantry made it, and every row is in its tenant; also on an untouched or
    half-migrated database.

    Changes nothing; if there is a journal, it records the run. Raises as `inspect` does.
    """
    return inspect(target, spec, VALIDATION, options, observer, command="validate", next_step=NEXT)
