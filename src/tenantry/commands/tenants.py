"""tenants: list, add, rename."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tenantry.errors import UsageError, nearest
from tenantry.execution.session import Session, open_session
from tenantry.execution.tenant_table import Tenant, TenantRowChange, TenantRows, _slug
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.postgres.moves import Moves


def list_tenants(target: Target, spec: Spec) -> tuple[Tenant, ...]:
    """All tenants, by their slugs, also those that have moved to another server. Raises UsageError if the spec does
    not fit or the table does not exist yet."""
    with _table(target, spec) as table:
        return tuple(sorted(_located(table), key=lambda tenant: tenant.slug))


def _located(table: TenantRows) -> Iterator[Tenant]:
    """The tenants, each with where it is according to the journal."""
    here = table.read()
    known = {tenant.key for tenant in here}
    away = [move for move in Moves(table.connection).all() if move.side == "source" and move.state != "abandoned"]
    for tenant in here:
        move = next((one for one in away if one.tenant == tenant.key and not one.complete), None)
        switched = move is not None and move.state == "switched"
        yield replace(tenant, moving=move is not None, location=move.location if move is not None and switched else "")
    # The last move of each: one that has come back and left again has several.
    for move in {move.tenant: move for move in away if move.tenant not in known}.values():
        yield Tenant(slug=move.slug, key=move.tenant, location=move.location, moving=not move.complete)


def add_tenant(target: Target, spec: Spec, slug: str, *, name: str = "", dry_run: bool = False) -> TenantRowChange:
    """Add a tenant; by default, the slug is its name.

    Raises Refused if a tenant has that slug, UsageError if the table requires values that are not known.
    """
    with _table(target, spec) as table:
        table.refuse_taken(slug)
        statement = table.insert(_slug(slug), name or slug)
        return table.change(statement, dry_run=dry_run)


def rename_tenant(target: Target, spec: Spec, slug: str, new: str, *, dry_run: bool = False) -> TenantRowChange:
    """Change the slug of a tenant; its key, which rows contain, does not change.

    Raises UsageError if the tenant does not exist, Refused if the spec lists it, it is the sentinel tenant, or the new
    slug is taken.
    """
    with _table(target, spec) as table:
        known = table.read()
        found = next((tenant for tenant in known if tenant.slug == slug), None)
        if found is None:
            raise UsageError(f"the tenant {slug!r} does not exist{nearest(slug, [tenant.slug for tenant in known])}")
        found.refuse_sentinel()
        table.refuse_named(slug)
        table.refuse_taken(new)
        return table.change(table.rename(slug, _slug(new)), dry_run=dry_run)


@contextmanager
def _table(target: Target, spec: Spec) -> Iterator[TenantRows]:
    with open_session(target, purpose="tenants") as connection:
        session = Session.begin(target, connection, spec)
        yield TenantRows(session)
