"""Exported, removed and imported again, a tenant has every row that it had, and others have lost none."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from servers import Database
from tenantry import RemoveOptions, import_tenant, list_tenants, remove_tenant, validate
from tenantry.errors import ExitStatus
from tenantry.model.spec import Spec
from tenants.conftest import content, sequences, target

Migrated = Callable[..., tuple[Database, Spec]]


@pytest.mark.server
def test_estoque(migrated: Migrated, tmp_path: Path) -> None:
    """Also a tenant with lots, movements and mixed alerts: the dump of all data is what it was."""
    database, spec = migrated("estoque")
    slug = list_tenants(target(database), spec)[0].slug
    before, stood, schema = content(database), sequences(database), database.dump()
    done = remove_tenant(target(database), spec, slug, RemoveOptions(folder=tmp_path / "kept"))
    assert done.rows == done.exported > 100
    assert slug not in [tenant.slug for tenant in list_tenants(target(database), spec)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "kept").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    without = content(database)
    assert {table: set(rows) <= set(before[table]) for table, rows in without.items()} == dict.fromkeys(before, True)
    assert sum(map(len, before.values())) - sum(map(len, without.values())) == done.rows
    dry = import_tenant(target(database), spec, tmp_path / "kept", dry_run=True)
    assert (dry.rows, content(database)) == (done.rows, without)
    assert import_tenant(target(database), spec, tmp_path / "kept").rows == done.rows
    assert content(database) == before
    assert (sequences(database), database.dump()) == (stood, schema)
    assert validate(target(database), spec).exit_status is ExitStatus.DONE
