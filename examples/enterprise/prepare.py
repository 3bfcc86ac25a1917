"""The operator's side: a business of one organisation becomes one of three, in an empty database.

python prepare.py DSN       prints the application's DSN and one key per organisation, as JSON
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tenantry import (
    MigrateOptions,
    add_tenant,
    backfill_balances,
    create_key,
    install_balances,
    list_tenants,
    migrate,
    sample,
)
from tenantry.model.backup import BackupKind
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.presets import spec_path

# The service's own table, made before the migration as any application's is: which requests were answered already.
REQUEST_KEYS = """
CREATE TABLE request_keys (
    org_id       uuid NOT NULL REFERENCES organizations ON DELETE CASCADE,
    key          text NOT NULL,
    fingerprint  text NOT NULL,
    movement_id  bigint,
    balance      numeric,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, key)
)
"""
MORE = """
[[table]]
name  = "request_keys"
paths = [["org_id"]]
"""
ORGANIZATIONS = {"north": "North Kitchens", "south": "South Kitchens"}


def spec(role: str = "tenantry_app") -> Spec:
    """The preset's, with keys and the table of the service."""
    text = spec_path("enterprise").read_text()
    text = text.replace('role = "tenantry_app"', f'role = "{role}"\napi_keys = true')
    return Spec.parse(text + MORE)


def prepare(dsn: str, *, role: str = "tenantry_app", rows: int = 2000) -> dict[str, object]:
    """Load, migrate until contract, keep balances, add organisations with rows, make keys. Returns what the service
    needs: its DSN, and the keys."""
    target, wanted = Target(dsn), spec(role)
    sample(target, "enterprise", rows=rows)
    with psycopg.connect(dsn) as connection:
        connection.execute(REQUEST_KEYS)
    migrate(target, wanted, MigrateOptions(until=Phase.CONTRACT, force=True, backup=BackupKind.NONE))
    install_balances(target, wanted)
    backfill_balances(target, wanted)
    for slug, name in ORGANIZATIONS.items():
        add_tenant(target, wanted, slug, name=name)
    with psycopg.connect(dsn) as connection:
        for slug in ORGANIZATIONS:
            _stock(connection, slug)
        connection.execute(sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(role)))
    tenants = [tenant for tenant in list_tenants(target, wanted) if not tenant.quarantine]
    keys = {tenant.slug: create_key(target, wanted, tenant.slug, "example").secret for tenant in tenants}
    reader = create_key(target, wanted, "north", "report", scopes=["read"]).secret
    organizations = {tenant.slug: tenant.key for tenant in tenants}
    return {
        "dsn": make_conninfo(dsn, user=role), "keys": keys, "reader": reader, "organizations": organizations
    }  # fmt: skip


def _stock(connection: psycopg.Connection[tuple[object, ...]], slug: str) -> None:
    """Three items in two places, received."""
    connection.execute("SELECT set_config('app.tenant_id', id::text, true) FROM organizations WHERE slug = %s", [slug])
    owner = "(SELECT current_setting('app.tenant_id')::uuid)"
    connection.execute(
        f"INSERT INTO locations (org_id, code, name, kind) SELECT {owner}, code, code, 'site'"  # noqa: S608
        " FROM unnest(ARRAY['MAIN', 'BACK']) AS code"
    )
    connection.execute(
        f"INSERT INTO items (org_id, code, name, category, unit, unit_cost) SELECT {owner}, 'I' || n,"  # noqa: S608
        " %s || ' item ' || n, 'dry', 'kg', n FROM generate_series(1, 3) AS n",
        [slug],
    )
    connection.execute(
        "INSERT INTO inventory_ledger (org_id, item_id, location_id, movement_type, quantity)"  # noqa: S608
        f" SELECT {owner}, i.id, l.id, 'receipt', 10 FROM items i, locations l"
        f" WHERE i.org_id = {owner} AND l.org_id = {owner}"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {Path(sys.argv[0]).name} DSN")
    os.umask(0o077)
    print(json.dumps(prepare(sys.argv[1]), indent=2))
