"""tenants: list, add, rename."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tenantry.errors import UsageError, nearest
from tenantry.execution.session import Session, open_session
from tenantry.execution.tenant_table import Tenant, TenantChange, TenantRows, _slug
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target


def list_tenants(target: Target, spec: Spec) -> tuple[Tenant, ...]:
    """All tenants, by their slugs. Raises UsageError if the spec does not fit or the table does not exist yet."""
    with _table(target, spec) as table:
        return table.read()


def add_tenant(target: Target, spec: Spec, slug: str, *, name: str = "", dry_run: bool = False) -> TenantChange:
    """Add a tenant; by default, the slug is its name.

    Raises Refused if a tenant has that slug, UsageError if the table requires values that are not known.
    """
    with _table(target, spec) as table:
        table.refuse_taken(slug)
        statement = table.insert(_slug(slug), name or slug)
        return table.change(statement, dry_run=dry_run)


def rename_tenant(target: Target, spec: Spec, slug: str, new: str, *, dry_run: bool = False) -> TenantChange:
    """Change the slug of a tenant; its key, which rows contain, does not change.

    Raises UsageError if the tenant does not exist or the spec lists it, Refused if the new slug is taken.
    """
    with _table(target, spec) as table:
        known = table.read()
        if all(tenant.slug != slug for tenant in known):
            raise UsageError(f"the tenant {slug!r} does not exist{nearest(slug, [tenant.slug for tenant in known])}")
        table.refuse_named(slug)
        table.refuse_taken(new)
        return table.change(table.rename(slug, _slug(new)), dry_run=dry_run)


@contextmanager
def _table(target: Target, spec: Spec) -> Iterator[TenantRows]:
    with open_session(target, purpose="tenants") as connection:
        session = Session.begin(target, connection, spec)
        yield TenantRows(session)
