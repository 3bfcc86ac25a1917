"""verify: do the rows meet the business rules, in each tenant by itself?"""

from __future__ import annotations

from tenantry.checks.families import VERIFICATION
from tenantry.commands.inspection import InspectionOptions, inspect
from tenantry.execution.events import Observer
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.postgres.connect import Target

NEXT = "Nothing: the rows meet the business rules. verify only reads, and can be run at any time."


def verify(
    target: Target, spec: Spec, options: InspectionOptions | None = None, observer: Observer | None = None
) -> Verdict:
    """Check that the rows meet the rules of the spec, have their tenants, and are not visible to other tenants; also on
    an untouched or half-migrated database.

    Changes nothing; if there is a journal, it records the run. Raises as `inspect` does.
    """
    return inspect(target, spec, VERIFICATION, options, observer, command="verify", next_step=NEXT)
