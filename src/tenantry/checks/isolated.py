"""The family isolation: by the catalog, then by experiment."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.checks.check import Ground
from tenantry.checks.experiment import experiment
from tenantry.checks.isolation import isolation
from tenantry.model.finding import Finding


def isolated(ground: Ground) -> Iterator[Finding]:
    """Whether each tenant is by itself. Raises UsageError as `experiment` does."""
    yield from isolation(ground)
    yield from experiment(ground)
