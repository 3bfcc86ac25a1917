"""The three kinds of finding of a preflight."""

from __future__ import annotations

from functools import partial

from tenantry.model.finding import Finding, Severity

refused = partial(Finding, severity=Severity.ERROR, refuses=True)
"""The run is refused, unless the finding is `forcible` and --force is given."""
warned = partial(Finding, severity=Severity.WARNING)
"""The run continues, with a warning."""
noted = partial(Finding, severity=Severity.INFO)
"""Nothing needs to be done."""
