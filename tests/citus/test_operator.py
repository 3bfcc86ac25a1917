"""The owner of the tables, who is no superuser, distributes them and takes them back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acceptance.round_trip import checksums
from citus.cycle import DISTRIBUTE, PREPARE, Make, assert_apart, assert_back, assert_sound, distributed
from tenantry import migrate
from tenantry.errors import TenantryError


@pytest.mark.parametrize("concurrently", [False, True], ids=["blocking", "concurrently"])
def test_there_and_back(business: Make, concurrently: bool) -> None:
    """FORCE is there again afterwards, on the table and on each shard."""
    there = business("depot", owner=True)
    dump, rows = there.database.dump(), checksums(there.database)
    migrate(there.target, there.spec, replace(DISTRIBUTE, concurrently=concurrently))
    assert migrate(there.target, there.spec, DISTRIBUTE).applied == 0
    unforced = there.database.rows("SELECT relname FROM pg_class WHERE relrowsecurity AND NOT relforcerowsecurity")
    assert unforced == []
    assert_sound(there)
    assert_apart(there)
    assert_back(there, dump, rows)


def test_settings_of_roles_that_are_not_its_own(business: Make) -> None:
    """Somebody else has to set it; then the owner needs no privilege on these roles."""
    there = business("depot", owner=True)
    migrate(there.target, there.spec, PREPARE)
    there.database.execute(f"REVOKE {there.login} FROM {there.owner}")
    with pytest.raises(TenantryError) as refusal:
        migrate(there.target, there.spec, DISTRIBUTE)
    assert f"may not set citus.propagate_set_commands for {there.login}" in str(refusal.value)
    assert distributed(there.database) == {}
    statement = str(refusal.value.remedy).rpartition("run: ")[2].removesuffix(".")
    there.database.execute(statement)
    migrate(there.target, there.spec, DISTRIBUTE)
