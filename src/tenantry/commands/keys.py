"""keys: create, list, revoke, rotate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import class_row

from tenantry.commands.running import Run, run
from tenantry.commands.tenants import list_tenants
from tenantry.errors import Refused, UsageError, nearest
from tenantry.execution.events import Observer
from tenantry.execution.session import open_session
from tenantry.model.api_key import SCOPES, ApiKey, hashed, lookup_part, new_key
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.postgres.journal import Journal
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "keys.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was created. `secret` is the whole key, which is not stored; empty in a dry run."""

    key: ApiKey
    secret: str


def create_key(
    target: Target, spec: Spec, slug: str, name: str, *, scopes: Sequence[str] = SCOPES,
    lifetime: timedelta | None = None, dry_run: bool = False, observer: Observer | None = None,
) -> NewKey:  # fmt: skip
    """Create an API key for the tenant with this slug. `name` is its purpose; it expires after `lifetime`.

    Raises UsageError if the tenant, the name or the scope is missing, or the database has no API keys.
    """
    _refuse_unfit(name, scopes, lifetime)
    tenants = list_tenants(target, spec)
    found = next((tenant for tenant in tenants if tenant.slug == slug), None)
    if found is None:
        raise UsageError(f"The tenant {slug!r} does not exist{nearest(slug, [tenant.slug for tenant in tenants])}")
    found.refuse_sentinel()
    if found.quarantine:
        raise Refused(
            f"{slug!r} is the quarantine tenant, which no application serves", remedy="Choose another tenant."
        )
    with run(target, "keys create", purpose="keys", observer=observer, locks=False) as current:
        _require_table(current.connection)
        values = {"tenant": found.key, "name": name.strip(), "scopes": _ordered(scopes), "lifetime": lifetime}
        made = _make(current, values, dry_run=dry_run)
        current.finish(f"key {made.key.lookup} for {slug}" if made.secret else "nothing was changed")
    return replace(made, key=replace(made.key, slug=slug))


def list_keys(target: Target, spec: Spec, *, slug: str | None = None) -> tuple[ApiKey, ...]:
    """The API keys, of one tenant or of all: the newest last. Raises UsageError if the database has none, or the
    tenant does not exist."""
    slugs = {tenant.key: tenant.slug for tenant in list_tenants(target, spec)}
    if slug is not None and slug not in slugs.values():
        raise UsageError(f"The tenant {slug!r} does not exist{nearest(slug, list(slugs.values()))}")
    with open_session(target, purpose="keys") as connection:
        _require_table(connection)
        keys = _read(connection)
    named = [replace(key, slug=slugs.get(key.tenant, "")) for key in keys.values()]
    return tuple(key for key in named if slug in (None, key.slug))


def revoke_key(target: Target, lookup: str, *, dry_run: bool = False, observer: Observer | None = None) -> ApiKey:
    """Revoke an API key now. One that has ended is not changed.

    Raises UsageError if the key does not exist.
    """
    with run(target, "keys revoke", purpose="keys", observer=observer, locks=False) as current:
        key = _find(current.connection, lookup)
        if key.active and not dry_run:
            current.begin(options=key.lookup)
            current.connection.execute(_QUERIES["end"], {"lookup": key.lookup, "overlap": timedelta(0), "by": None})
        current.finish(f"key {key.lookup} revoked" if key.active and not dry_run else "nothing was changed")
        return _find(current.connection, lookup)


def rotate_key(
    target: Target, lookup: str, *, overlap: timedelta = timedelta(hours=24), lifetime: timedelta | None = None,
    dry_run: bool = False, observer: Observer | None = None,
) -> NewKey:  # fmt: skip
    """Create a key that replaces another, which stays valid for `overlap`. It has the other's tenant, name and scopes,
    and expires after `lifetime`, or after the lifetime of the other.

    Raises UsageError if the key does not exist, Refused if it has ended or was rotated already.
    """
    _refuse_unfit("-", SCOPES, lifetime)
    with run(target, "keys rotate", purpose="keys", observer=observer, locks=False) as current:
        old = _find(current.connection, lookup)
        if old.replaced_by is not None:
            raise Refused(
                f"The key {old.lookup} was already rotated to {old.replaced_by}", remedy="Rotate that one."
            )  # fmt: skip
        if not old.active:
            raise Refused(f"The key {old.lookup} has expired or was revoked", remedy="Run `tenantry keys create`.")
        values = {
            "tenant": old.tenant, "name": old.name, "scopes": list(old.scopes), "lifetime": lifetime or old.lifetime
        }  # fmt: skip
        made = _make(current, values, dry_run=dry_run, replaces=old, overlap=overlap)
        current.finish(f"key {old.lookup} rotated to {made.key.lookup}" if made.secret else "nothing was changed")
    return made


def _refuse_unfit(name: str, scopes: Sequence[str], lifetime: timedelta | None) -> None:
    if not name.strip() or not name.isprintable():
        raise UsageError("The key has no name", remedy="Give its purpose, such as --name 'till in the shop'.")
    strange = [scope for scope in scopes if scope not in SCOPES]
    if strange or not scopes:
        raise UsageError(f"{strange[0] if strange else ''!r} is not a scope", remedy="The scopes are read and write.")
    if lifetime is not None and not timedelta(0) < lifetime <= timedelta(days=36_500):
        raise UsageError("The lifetime of a key is more than zero and at most a hundred years")


def _ordered(scopes: Sequence[str]) -> list[str]:
    return [scope for scope in SCOPES if scope in scopes]


def _require_table(connection: psycopg.Connection[Any]) -> None:
    """Raises Refused if the schema cannot be trusted, UsageError if it has no table of keys."""
    there = Journal(connection).installed
    row = connection.execute(_QUERIES["there"]).fetchone() if there else None
    if row is None or not row[0]:
        raise UsageError(
            "This database has no API keys",
            remedy="Set api_keys = true in [application] of the spec, and run `tenantry migrate`.",
        )


def _read(connection: psycopg.Connection[Any]) -> dict[str, ApiKey]:
    with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        return {key.lookup: key for key in cursor.execute(_QUERIES["keys"]).fetchall()}


def _find(connection: psycopg.Connection[Any], text: str) -> ApiKey:
    try:
        lookup = lookup_part(text)
    except ValueError as error:
        raise UsageError(str(error), remedy="`tenantry keys list` lists them.") from error
    _require_table(connection)
    known = _read(connection)
    if lookup not in known:
        raise UsageError(
            f"The key {lookup} does not exist{nearest(lookup, list(known))}", remedy="`tenantry keys list`."
        )
    return known[lookup]


def _make(
    current: Run, values: Mapping[str, Any], *, dry_run: bool, replaces: ApiKey | None = None,
    overlap: timedelta | None = None,
) -> NewKey:  # fmt: skip
    """Create a key, and end the one that it replaces, in one transaction."""
    connection, secret = current.connection, new_key()
    lookup = lookup_part(secret)
    if not dry_run:
        current.begin(options=f"{values['name']} ({', '.join(values['scopes'])})")
    with connection.transaction(force_rollback=dry_run):
        connection.execute(_QUERIES["add"], {"lookup": lookup, "hash": hashed(secret), **values})
        if replaces is not None:
            connection.execute(_QUERIES["end"], {"lookup": replaces.lookup, "overlap": overlap, "by": lookup})
        key = _read(connection)[lookup]
    return NewKey(key=key, secret="" if dry_run else secret)
