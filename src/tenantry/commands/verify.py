"""verify: does the business still make sense, for each tenant by itself?"""

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
    """Whether the rows keep to the rules of the spec, find their tenants, and stay out of other tenants' sight; works
    on an untouched and on a half-migrated database, too.

    Changes nothing; where there is a journal, it notes the run. Raises as `inspect` does.
    """
    return inspect(target, spec, VERIFICATION, options, observer, command="verify", next_step=NEXT)
