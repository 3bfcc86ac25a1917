"""The tenant of a message: it travels in the headers of a task queue's messages.

    queue.enqueue(work, meta=outgoing())            # where the task is sent
    with incoming(job.meta): work()                 # where it is run

For rq, dramatiq, procrastinate and whatever else carries a mapping of texts; Celery has tenantry_app.celery.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenantry_app.context import Refusal, innermost, tenant
from tenantry_app.errors import TenantRequired

HEADER = "tenantry-tenant"
"""The header that holds the tenant's key."""


def outgoing() -> dict[str, str]:
    """The headers of a message that is sent now: the current tenant's key, or none without a tenant."""
    block = innermost()
    return {HEADER: block.value} if block is not None and block.tenant is not None else {}


def incoming(headers: Mapping[str, Any] | None) -> tenant | Refusal:
    """The block in which a message is processed.

    Entering raises UnknownTenant or InactiveTenant if its tenant no longer exists or is no longer active. A message
    without a header has no tenant, never that of the message before: in its block statements raise TenantRequired.
    """
    key = (headers or {}).get(HEADER)
    return tenant(str(key)) if key else Refusal(TenantRequired("The message contains no tenant."))
