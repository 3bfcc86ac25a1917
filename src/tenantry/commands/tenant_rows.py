"""tenants: export, import and remove one tenant's rows."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from tenantry.commands.running import interruptible, refuse_during_move, run
from tenantry.errors import Refused, UsageError
from tenantry.execution.events import Notice, Observer, ignore
from tenantry.execution.session import Session, open_session
from tenantry.execution.tenant_table import Tenant
from tenantry.execution.transaction import LockPolicy
from tenantry.model.backup import Backup
from tenantry.model.name import Name
from tenantry.model.spec import Spec, is_slug
from tenantry.model.tenant_export import TenantExport
from tenantry.model.wording import counted
from tenantry.postgres.backups import Backups
from tenantry.postgres.connect import Target
from tenantry.postgres.removals import Removal, Removals
from tenantry.tenants.export import TenantExporter
from tenantry.tenants.folder import read_manifest, refuse_folder
from tenantry.tenants.load import TenantImport
from tenantry.tenants.removal import TenantRemoval
from tenantry.tenants.scope import TenantScope


def export_tenant(
    target: Target, spec: Spec, slug: str, folder: Path, *, observer: Observer | None = None
) -> TenantExport:
    """Write the rows of the tenant with this slug into a new folder, all from one snapshot.

    Raises UsageError if there is no such tenant or the folder cannot be written, Refused if the database is not
    isolated, the folder is not empty, or the tenant is the sentinel tenant; then nothing is written.
    """
    with run(target, "tenants export", purpose="export", observer=observer) as current:
        session = Session.begin(target, current.connection, spec)
        scope = TenantScope.of(session, run=current.id, observer=current.observer)
        exporter = TenantExporter(scope=scope, tenant=scope.tenant(slug))
        refuse_folder(folder)
        current.begin(options=slug)
        export = exporter.write(folder)
        current.finish(
            f"{counted(export.rows, 'row')} of {slug} exported",
            reported_outcome=f"{counted(export.rows, 'row')} of {slug} in {folder}",
        )
    return export


def preview_export(target: Target, spec: Spec, slug: str, *, observer: Observer | None = None) -> TenantExport:
    """What `export_tenant` would write: the tables and their rows. Writes nothing, and raises as it does."""
    with open_session(target, purpose="export") as connection:
        scope = TenantScope.of(Session.begin(target, connection, spec), run="", observer=observer or ignore)
        return TenantExporter(scope=scope, tenant=scope.tenant(slug)).preview()


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantImported:
    """The result of an import. `rows` were inserted, or would be in a dry run; `silenced` are triggers and rules of the
    user's that did not fire; `spec_differs`: the export was made by another spec."""

    export: TenantExport
    slug: str
    rows: int
    silenced: tuple[str, ...] = ()
    spec_differs: bool = False


def import_tenant(
    target: Target, spec: Spec, folder: Path, *, slug: str | None = None, dry_run: bool = False,
    lock_timeout: float | None = None, lock_budget: float | None = None, observer: Observer | None = None,
) -> TenantImported:  # fmt: skip
    """Put the rows of an export into a database, in one transaction; the tenant gets the `slug` in place of its own.

    Raises UsageError if the folder contains no export; Refused, with a list, if its files or tables do not fit, the
    tenant exists already, rows of others have its keys, or rows to which it refers are missing or not the same; Failed
    if the inserted rows differ from the exported ones. Then nothing is changed.
    """
    if slug is not None and not is_slug(slug):
        raise UsageError(f"{slug!r} is no slug", remedy="Write a short name without spaces at its ends.")
    export = read_manifest(folder)
    wanted = slug if slug is not None else export.tenant
    with run(target, "tenants import", purpose="import", observer=observer) as current:
        session = Session.begin(target, current.connection, spec)
        scope = TenantScope.of(session, run=current.id, observer=current.observer)
        importing = TenantImport(
            scope=scope, folder=folder.absolute(), export=export, slug=wanted,
            policy=_policy(spec, lock_timeout, lock_budget),
        )  # fmt: skip
        importing.prepare()
        silenced = tuple(f"{fires.name} on {fires.relation}" for fires in importing.silenced())
        if dry_run:
            rows = importing.new_rows()
        else:
            current.begin(options=wanted)
            rows = importing.insert()
        would = "would be imported" if dry_run else "imported"
        current.finish(f"{counted(rows, 'row')} of {wanted} {would}")
        # Not left to the end of the session, which is visible to others for a moment longer.
        current.connection.execute("DISCARD TEMP")
    return TenantImported(
        export=export, slug=wanted, rows=rows, silenced=silenced, spec_differs=export.spec != scope.fingerprint
    )


class RemovalBackup(StrEnum):
    """The backup of a tenant before it is removed."""

    EXPORT = "export"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveOptions:
    """How a tenant is removed. `folder` is the place of the export, by default a new one in the spec's folder of dumps;
    `force` allows a removal without one. Lock times in seconds; by default the spec's."""

    backup: RemovalBackup = RemovalBackup.EXPORT
    folder: Path | None = None
    force: bool = False
    lock_timeout: float | None = None
    lock_budget: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalPreview:
    """What removing a tenant would delete, by table, children first. `folder` is where it would be exported to first,
    `unfinished` a removal that would be continued, `blockers` rows of others that refer to these: then it is refused.
    `silenced` are the user's triggers and rules that would not fire."""

    tenant: Tenant
    rows: Mapping[Name, int]
    blockers: tuple[str, ...]
    silenced: tuple[str, ...]
    folder: Path | None
    unfinished: Removal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRemoved:
    """The result of a removal. `rows` were deleted in total; of these, `exported` were in the export in `folder`.
    `ended_keys` API keys were ended. `backups` are those that still contain rows of the tables."""

    tenant: Tenant
    rows: int
    exported: int
    folder: Path | None
    ended_keys: int
    backups: tuple[str, ...] = field(default=())

    @property
    def unexported(self) -> int:
        """Rows that were written after the snapshot of the export, and deleted."""
        return max(0, self.rows - self.exported) if self.folder is not None else 0


def preview_removal(
    target: Target, spec: Spec, slug: str, options: RemoveOptions, *, observer: Observer | None = None
) -> RemovalPreview:
    """What `remove_tenant` would delete. Changes nothing. Raises UsageError if there is no such tenant, Refused if it
    is one that must not be removed."""
    with open_session(target, purpose="removal") as connection:
        scope = TenantScope.of(Session.begin(target, connection, spec), run="", observer=observer or ignore)
        removing = _removing(scope, slug, options)
        unfinished = Removals(connection).unfinished(removing.tenant.key)
        exports = options.backup is RemovalBackup.EXPORT and unfinished is None
        return RemovalPreview(
            tenant=removing.tenant, rows=removing.rows(), blockers=tuple(map(str, removing.blockers())),
            silenced=tuple(removing.silenced()), folder=_folder(spec, slug, options) if exports else None,
            unfinished=unfinished,
        )  # fmt: skip


def remove_tenant(
    target: Target, spec: Spec, slug: str, options: RemoveOptions, *, observer: Observer | None = None
) -> TenantRemoved:
    """Delete a tenant's rows in batches, children before their parents, after an export of them. If a run has stopped
    part-way, the same call continues it, with that run's export.

    Raises UsageError if there is no such tenant; Refused if it is one that must not be removed, or if rows of others
    refer to its rows, before anything is changed; Interrupted between two batches, and Failed if a lock could not be
    taken.
    """
    with run(target, "tenants remove", purpose="removal", observer=observer) as current:
        session = Session.begin(target, current.connection, spec)
        scope = TenantScope.of(session, run=current.id, observer=current.observer)
        refuse_during_move(current.connection)
        removing = _removing(scope, slug, options)
        blockers = removing.blockers()
        if blockers:
            raise Refused(
                f"Rows that are not the tenant's refer to rows of {slug!r}: {blockers[0]}",
                remedy="Change or delete these rows first: they are not the tenant's. Nothing was changed.",
                details=[str(one) for one in blockers[1:]],
            )
        if options.backup is RemovalBackup.NONE and not options.force:
            raise Refused(
                "Rows will be deleted, and no export of them is to be made",
                remedy="Leave out --backup none, or give --force with it.",
            )
        removals = Removals(current.connection)
        begun, folder = removals.unfinished(removing.tenant.key), _folder(spec, slug, options)
        if options.backup is RemovalBackup.EXPORT:
            if begun is None:
                refuse_folder(folder)
            else:
                _require_export(begun)
        current.begin(options=slug)
        removals.install()
        removal = begun or _begin(removing, options, folder, removals)
        if removal.run != current.id:
            kept = f" with the export in {removal.folder}" if removal.folder is not None else ""
            told = f"This run goes on where the run {removal.run} stopped,{kept or ' without an export'}"
            current.observer(Notice(told, {"removal": removal.run, "folder": removal.folder}))
        with interruptible(removing.stop.set):
            # First, so that no application goes on writing as the tenant.
            ended = removals.end_keys(removing.tenant.key)
            rows = removing.remove(removal)
        backups = tuple(one.id for one in Backups(current.connection).all() if _holds(one, scope))
        outcome = f"{slug} removed: {counted(rows, 'row')}"
        current.finish(outcome, f"The export is in {removal.folder}." if removal.folder else "")
    return TenantRemoved(
        tenant=removing.tenant, rows=rows, exported=removal.exported, ended_keys=ended, backups=backups,
        folder=None if removal.folder is None else Path(removal.folder),
    )  # fmt: skip


def _policy(spec: Spec, timeout: float | None, budget: float | None) -> LockPolicy:
    return LockPolicy(timeout=timeout or spec.locks.timeout, budget=budget or spec.locks.budget)


def _removing(scope: TenantScope, slug: str, options: RemoveOptions) -> TenantRemoval:
    """Raises Refused for a tenant that must not be removed."""
    begun = Removals(scope.connection).unfinished_of(slug)
    # Its own row may have been deleted in the last batch of a run that then stopped.
    tenant = scope.find(slug) or (Tenant(slug=slug, key=begun.tenant) if begun is not None else scope.tenant(slug))
    refuse_staying(scope, tenant, "removed")
    policy = _policy(scope.session.spec, options.lock_timeout, options.lock_budget)
    return TenantRemoval(scope=scope, tenant=tenant, policy=policy, stop=threading.Event())


def refuse_staying(scope: TenantScope, tenant: Tenant, what: str) -> None:
    """Raises Refused for a tenant that has to stay, which cannot be removed or moved: `what` says which."""
    slug = tenant.slug
    tenant.refuse_sentinel()
    if tenant.default:
        raise Refused(
            f"{slug!r} is the default tenant, which gets the rows that no path reaches",
            remedy=f"Name another `default` in the spec, and migrate; then it can be {what}.",
        )
    if tenant.quarantine:
        raise Refused(
            f"{slug!r} is the quarantine tenant: it holds rows until a person has determined their owner",
            remedy="`tenantry conflicts` and `tenantry validate` name them; give them their tenants.",
        )
    table = scope.selection.ownership.tenant
    if slug in table.slugs:
        raise Refused(
            f"The spec names the tenant {slug!r}: the next migrate would make it again",
            remedy=f"Take it out of {scope.session.spec.path or 'the spec'}, and migrate; then it can be {what}.",
        )


def _begin(removing: TenantRemoval, options: RemoveOptions, folder: Path, removals: Removals) -> Removal:
    """Export the tenant into the folder, if it is to be exported, and record the beginning of its removal."""
    scope, tenant = removing.scope, removing.tenant
    kept, exported = None, 0
    if options.backup is RemovalBackup.EXPORT:
        kept = folder.absolute()
        export = TenantExporter(scope=scope, tenant=tenant).write(kept)
        exported = export.rows - removing.staying()
        scope.observer(Notice(f"Exported {counted(export.rows, 'row')} into {kept}", {"folder": str(kept)}))
    return removals.begin(run=scope.run, tenant=tenant.key, slug=tenant.slug, folder=kept, exported=exported)


def _require_export(begun: Removal) -> None:
    """Raises Refused if the export that an earlier run has made, before it deleted rows, is not as it was written."""
    if begun.folder is None:
        return
    try:
        read_manifest(Path(begun.folder))
    except (Refused, UsageError) as error:
        raise Refused(
            f"The run {begun.run} has begun to delete these rows, and its export cannot be read: {error}",
            remedy=f"Put the export back into {begun.folder}; or give --backup none --force to go on without it.",
        ) from error


def _folder(spec: Spec, slug: str, options: RemoveOptions) -> Path:
    if options.folder is not None:
        return options.folder
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", slug)[:60]
    return Path(spec.backup.folder) / f"tenant_{plain}_{datetime.now(UTC):%Y%m%d%H%M%S}"


def _holds(backup: Backup, scope: TenantScope) -> bool:
    return any(copy.table in scope.selection.tables for copy in backup.tables)
