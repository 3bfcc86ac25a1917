"""Django 5.2 or newer, on psycopg 3: each statement is the running task's tenant's.

    INSTALLED_APPS = ["tenantry_app.django", …]
    MIDDLEWARE = ["tenantry_app.django.middleware.tenant_middleware", …]
    TENANTRY = {"RESOLVER": "shop.tenants.resolve", "TENANTS": "shop.tenants.all"}
    DATABASES = {"default": {…, "USER": "tenantry_app"}, "operator": {…, "USER": "owner"}}
    DATABASE_ROUTERS = ["tenantry_app.django.MigrationRouter"]

Keys of TENANTRY, all optional:

- `DATABASES`: the aliases on which statements need a tenant; ["default"]. Others, such as the operator's, are left
  alone.
- `RESOLVER`: a function, or its dotted path, from a request to a key, a slug, a Tenant or None; by default the first
  label of the host's name. It may be async where the application is.
- `RESOLUTION`: in its place a Resolution, or its dotted path: API keys, claims, headers. Refusals are problems then
  (RFC 9457), and 503 if the database is unavailable.
- `TENANTS`: a function, or its dotted path, that gives all tenants, for `manage.py for_each_tenant COMMAND`.
- `COLUMN`: the tenant column, by which the system checks recognise tables of tenants; "tenant_id".

Setting and statement are one message. `manage.py migrate --database operator` makes migrations as the operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from tenantry_app.context import current, without_tenant


def options() -> dict[str, Any]:
    """The settings' TENANTRY, with defaults."""
    from django.conf import settings

    defaults: dict[str, Any] = {
        "DATABASES": ["default"], "RESOLVER": "tenantry_app.django.subdomain", "RESOLUTION": None,
        "TENANTS": None, "COLUMN": "tenant_id",
    }  # fmt: skip
    return defaults | getattr(settings, "TENANTRY", {})


def named(option: str) -> Any:
    """The function of an option, given directly or by its dotted path; ImproperlyConfigured if there is none."""
    from django.core.exceptions import ImproperlyConfigured
    from django.utils.module_loading import import_string

    value = options()[option]
    if value is None:
        raise ImproperlyConfigured(f"TENANTRY needs {option!r}: a function, or its dotted path")
    return import_string(value) if isinstance(value, str) else value


class MigrationRouter:
    """One of DATABASE_ROUTERS: nothing is migrated on the aliases that serve tenants, so `makemigrations` does not ask
    them which migrations have been applied."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """False for an alias that serves tenants; no opinion on others."""
        return False if db in options()["DATABASES"] else None


def subdomain(request: Any) -> str | None:
    """The first label of the host's name, in lower case; None if the host has fewer than three."""
    labels: Sequence[str] = request.get_host().split(":")[0].lower().split(".")
    return labels[0] if len(labels) > 2 else None


def cache_key(key: str, key_prefix: str, version: int) -> str:
    """A KEY_FUNCTION for CACHES: each tenant has keys of its own. Raises TenantRequired without a tenant."""
    return f"{quote(current().key, safe='')}:{key_prefix}:{version}:{key}"


def find_key(lookup: str, presented: bytes) -> Any:
    """Looks an API key up (see tenantry_app.keys) on the first of `DATABASES`: for ApiKey, under WSGI and ASGI.

    TENANTRY = {"RESOLUTION": Resolution(ApiKey(CachedKeys(find_key)))}
    """
    import asyncio

    from asgiref.sync import sync_to_async

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _find_key(lookup, presented)
    return sync_to_async(_find_key)(lookup, presented)


def _find_key(lookup: str, presented: bytes) -> Any:
    from django.db import connections

    from tenantry_app.keys import QUERY, read_row

    with without_tenant(), connections[options()["DATABASES"][0]].cursor() as cursor:
        cursor.execute(QUERY.format("%s", "%s"), [lookup, presented])
        return read_row(cursor.fetchone())
