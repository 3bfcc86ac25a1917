"""Whether a tenant can access rows of another one: from the catalog, then by attempts."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.checks.base import CheckContext
from tenantry.checks.isolation.catalog import isolation
from tenantry.checks.isolation.citus import distributed_experiment
from tenantry.checks.isolation.probes import experiment
from tenantry.model.finding import Finding


def isolated(context: CheckContext) -> Iterator[Finding]:
    """Whether tenants are isolated. Raises UsageError as `experiment` does."""
    yield from isolation(context)
    yield from distributed_experiment(context) if context.distributed else experiment(context)
