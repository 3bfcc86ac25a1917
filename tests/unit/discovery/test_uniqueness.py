"""Unique constraints that would tie tenants together: which of them are a person's question."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tenantry.discovery.links import Link
from tenantry.discovery.uniqueness import constraints
from tenantry.model.schema import Unique
from unit.schemas import column, name, table, unique

USERS = table("users", "store_id", "email text", "badge text", "ref uuid")
TO_STORE = Link(table=USERS.name, columns=("store_id",), parent=name("stores"), parent_columns=("id",), nullable=False)


def proposed_uniques(*uniques: Unique, users: object = USERS) -> list[tuple[str, bool]]:
    found = constraints(replace(users, uniques=uniques), (TO_STORE,))  # type: ignore[type-var]
    return [(one.name, one.proposed) for one in found]


@pytest.mark.parametrize(
    ("one", "proposed"),
    [
        (unique("badge"), True),
        (unique("badge", "email"), False),
        (unique("email"), False),
        (unique("ref"), False),
        (unique("badge", referenced=True), False),
        (replace(unique("badge"), columns=()), False),
    ],
)
def test_questions(one: Unique, *, proposed: bool) -> None:
    """Nothing speaks against a number that each shop gives; a login, and what a key needs, stay global."""
    assert proposed_uniques(one) == [(one.name, proposed)]


@pytest.mark.parametrize(
    "one", [unique("store_id", "badge"), unique("badge", exclusion=True), unique("badge", valid=False),
            unique("id", primary=True)],
)  # fmt: skip
def test_no_questions(one: Unique) -> None:
    """What is unique within a parent is so within its tenant; nobody chooses the values of an integer key."""
    assert proposed_uniques(one) == []


def test_keys_that_people_choose() -> None:
    """Two tenants cannot use the same one."""
    codes = table("codes", "code text", primary_key=("code",))
    primary = unique("code", primary=True)
    assert proposed_uniques(primary, users=codes) == [(primary.name, False)]
    made = replace(column("code text")[0], default="gen_random_uuid()::text")
    assert proposed_uniques(primary, users=replace(codes, columns=(made,))) == []
