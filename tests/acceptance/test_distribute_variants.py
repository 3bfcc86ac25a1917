"""Neighbours of what is known to be distributable, or to be refused: taken and brought back, or refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from acceptance.distributed import DISTRIBUTE, refused_by_citus
from acceptance.distributed_variants import SPACE, VARIANTS, Variant
from acceptance.round_trip import checksums
from acceptance.true_refusals import untrue
from daily import nightly
from servers import Database
from tenantry import RollbackOptions, migrate, plan, rollback, validate
from tenantry.errors import ExitStatus, Refused
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server
WARNED = ("distribute-changes-conflict", "distribute-changes-policy")
DAILY = {"two keys for the same columns", "a tablespace"}


def cases(*, refused: bool) -> list[object]:
    chosen = {name: one for name, one in VARIANTS.items() if bool(one.refused) is refused}
    every = {name: pytest.param(one, id=name, marks=pytest.mark.pg(f">= {one.since}")) for name, one in chosen.items()}
    return [one if refused or name in DAILY else nightly(one) for name, one in every.items()]


@pytest.fixture(autouse=True)
def space(server_version: int, database: Database) -> None:
    """A tablespace within the server's own folder."""
    if server_version >= 15 and not database.rows("SELECT FROM pg_tablespace WHERE spcname = %s", [SPACE]):
        with database.connect(autocommit=True) as connection:
            connection.execute("SET allow_in_place_tablespaces = on")
            connection.execute(f"CREATE TABLESPACE {SPACE} LOCATION ''")


def built(variant: Variant, database: Database, role: Callable[..., str]) -> tuple[Target, Spec]:
    variant.build(database)
    return Target(database.dsn), variant.spec(role(create=False, name="app"))


@pytest.mark.parametrize("variant", cases(refused=False))
def test_there_and_back(variant: Variant, database: Database, role: Callable[..., str]) -> None:
    target, spec = built(variant, database, role)
    dump, rows = database.dump(), checksums(database)
    said = {one.name for one in plan(target, spec, until=Phase.DISTRIBUTE).findings}
    assert {name for name in said if name in WARNED} == set(variant.warned)
    migrate(target, spec, DISTRIBUTE)
    assert migrate(target, spec, DISTRIBUTE).applied == 0
    assert refused_by_citus(target, spec) == set()
    found = {one.name for one in validate(target, spec).findings if one.severity.serious}
    assert found == set(variant.found)
    back = rollback(target, RollbackOptions())
    assert (back.exit_status, [one for one in back.findings if one.severity.serious]) == (ExitStatus.DONE, [])
    assert database.dump() == dump
    assert checksums(database) == rows


@pytest.mark.parametrize("variant", cases(refused=True))
def test_refused_by_name(variant: Variant, database: Database, role: Callable[..., str]) -> None:
    """Before the first change, and for what is true."""
    target, spec = built(variant, database, role)
    dump = database.dump()
    refusals = [one for one in plan(target, spec, until=Phase.DISTRIBUTE).findings if one.refuses and not one.forcible]
    assert {one.name for one in refusals} == set(variant.refused)
    assert all(one.remedy for one in refusals)
    assert untrue(database, spec, refusals) == []
    with pytest.raises(Refused):
        migrate(target, spec, DISTRIBUTE)
    assert database.dump() == dump
