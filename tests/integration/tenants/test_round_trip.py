"""Exported, removed and imported again, a tenant has every row that it had, and others have lost none."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daily import daily
from tenantry import list_tenants, validate
from tenantry.model.plan import Phase
from tenantry.tenants.folder import read_manifest
from tenants.conftest import HANDED_OVER, Isolated, content, sequences

BALANCES = "SELECT {}, quantity, total_in, total_out, movements FROM {} WHERE movements > 0 ORDER BY 1, 2, 3"


def findings(one: Isolated) -> list[tuple[str, str]]:
    """What validate finds, by name and table."""
    return sorted((found.name, str(found.table)) for found in validate(one.target, one.spec).findings)


def balances(one: Isolated) -> list[list[tuple[Any, ...]]]:
    return [one.database.rows(BALANCES.format(", ".join(part.key), part.balance)) for part in one.spec.ledger]


@pytest.mark.server
@pytest.mark.parametrize(
    ("name", "until"),
    daily(
        [
            ("warehouse", Phase.CONTRACT),
            ("enterprise", Phase.DISTRIBUTE),
            ("enterprise", Phase.CONTRACT),
            ("estoque", Phase.ISOLATE),
        ],
        2,
    ),
)
def test_there_and_back(name: str, until: Phase, isolated: Callable[..., Isolated], tmp_path: Path) -> None:
    """All types, circles, partitions, heirs, memberships, mixed rows, balances that may not go below zero, triggers that
    object, names that lead elsewhere: the data are byte for byte what they were, and so are schema and sequences."""
    one, folder = isolated(name, until), tmp_path / "kept"
    if name == "enterprise":
        one.database.execute(HANDED_OVER)
    slug = {"warehouse": "two", "enterprise": "second"}.get(name) or list_tenants(one.target, one.spec)[0].slug
    before, stood, schema, wrong = content(one.database), sequences(one.database), one.database.dump(), findings(one)
    sums = balances(one) if until is not Phase.DISTRIBUTE else []
    done = one.remove(slug, folder)
    assert done.rows == done.exported > 100
    assert slug not in [tenant.slug for tenant in list_tenants(one.target, one.spec)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    without = content(one.database)
    assert [table for table, rows in without.items() if not set(rows) <= set(before[table])] == []
    assert sum(map(len, before.values())) - sum(map(len, without.values())) == done.rows
    dry = one.load(folder, dry_run=True)
    assert (dry.rows, content(one.database)) == (done.rows, without)
    assert one.load(folder).rows == done.rows
    assert content(one.database) == before
    assert (sequences(one.database), one.database.dump()) == (stood, schema)
    assert findings(one) == wrong
    assert sums == [] or balances(one) == sums
    again, kept = one.export(slug, tmp_path / "again"), read_manifest(folder)
    assert [file.sha256 for file in again.files] == [file.sha256 for file in kept.files]
    assert again.tables == kept.tables
