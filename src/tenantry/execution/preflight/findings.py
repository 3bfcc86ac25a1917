"""The three kinds of finding that a preflight makes."""

from __future__ import annotations

from functools import partial

from tenantry.model.finding import Finding, Severity

refused = partial(Finding, severity=Severity.ERROR, refuses=True)
"""The run stops here, unless the finding is `forcible` and --force is given."""
warned = partial(Finding, severity=Severity.WARNING)
"""The run goes on; somebody should know."""
noted = partial(Finding, severity=Severity.INFO)
"""Nothing needs to be done."""
