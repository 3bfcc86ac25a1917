"""Celery: a task runs as the tenant in whose block it was sent.

    app = Celery("shop")
    use_tenants(app, tenants=active_tenants)

The key is sent in the message's headers, through retries, chains, groups and chords. A message without the header has
no tenant, never that of the task before. If the tenant is no longer known or active, the task's first statement raises
UnknownTenant or InactiveTenant. Eager tasks run in the block in which they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from celery import Celery, signals

from tenantry_app.carrier import HEADER, incoming, outgoing
from tenantry_app.context import Refusal, tenant
from tenantry_app.errors import TenantError
from tenantry_app.tenants import Name

FOR_EACH = "tenantry_app.for_each_tenant"
"""The name of the task that sends another one for each tenant."""

_running: dict[str, AbstractContextManager[Any]] = {}


def use_tenants(app: Celery, *, tenants: Callable[[], Iterable[Name]] | None = None) -> None:
    """Send the tenant with the tasks of this process, for clients and workers; to be called where `app` is created.

    `tenants` returns all tenants for the task "tenantry_app.for_each_tenant", which beat can send: its arguments are
    the name of another task and that task's arguments, and it sends that task once for each tenant.
    """
    signals.before_task_publish.connect(_publish, weak=False, dispatch_uid="tenantry_app.publish")
    signals.task_prerun.connect(_begin, weak=False, dispatch_uid="tenantry_app.begin")
    signals.task_postrun.connect(_end, weak=False, dispatch_uid="tenantry_app.end")
    if tenants is None:
        return

    @app.task(name=FOR_EACH)  # type: ignore[untyped-decorator]
    def for_each_tenant(name: str, *args: Any, **kwargs: Any) -> int:
        """Sends a task for each tenant, and returns how many."""
        sent = 0
        for one in tenants():
            with tenant(one):
                app.send_task(name, args=args, kwargs=kwargs)
            sent += 1
        return sent


def _publish(headers: dict[str, Any] | None = None, **signal: Any) -> None:
    if headers is not None and HEADER not in headers:
        headers.update(outgoing())


def _begin(task_id: str, task: Any, **signal: Any) -> None:
    request = task.request
    if request.is_eager:
        return
    headers = {HEADER: getattr(request, HEADER, None) or (request.headers or {}).get(HEADER)}
    # Celery only logs what a receiver raises, so the task's statements raise it.
    try:
        block: Any = incoming(headers)
        block.__enter__()
    except TenantError as error:
        block = Refusal(error)
        block.__enter__()
    _running[task_id] = block


def _end(task_id: str, **signal: Any) -> None:
    block = _running.pop(task_id, None)
    if block is not None:
        block.__exit__(None, None, None)
