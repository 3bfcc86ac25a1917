"""Who typed a row in is not who owns it: told by names that the schema or the data bear out, or by these alone."""

from __future__ import annotations

import pytest

from tenantry.discovery.audit import audits
from tenantry.discovery.profile import census
from tenantry.model.evidence import Evidence
from tenantry.planning import resolve
from unit.discovery.answering import Answers, Rows, answering, drafted
from unit.schemas import table

USERS = table("users", "tenant_id > tenants")


def audit_columns(*tables: object, given: Answers | None = None) -> set[str]:
    draft = drafted(USERS, *tables)  # type: ignore[arg-type]
    evidence: Evidence = answering(given)(census(resolve(draft.spec(), draft.links.schema), draft.links.schema))
    return {f"{link.table.name}.{link.columns[0]}" for link in audits(draft, evidence)}


@pytest.mark.parametrize(
    "column", ["created_by", "write_uid", "criado_por", "angelegt_von", "usuario_alteracao", "by_user"]
)
def test_by_name(column: str) -> None:
    """Beside another way, or twice in one table."""
    assert audit_columns(table("notes", "tenant_id > tenants", f"{column}? > users")) == {f"notes.{column}"}
    assert audit_columns(table("notes", "approved_by? > users", f"{column}? > users")) == {
        "notes.approved_by",
        f"notes.{column}",
    }


@pytest.mark.parametrize("column", ["user_id", "owner_id", "seller", "standby"])
def test_other_names(column: str) -> None:
    assert audit_columns(table("notes", "tenant_id > tenants", f"{column}? > users")) == set()


def test_a_name_alone_is_a_hint() -> None:
    """A table that has no other way, of which nothing else is known: it may be the owner."""
    assert audit_columns(table("notes", "created_by > users")) == set()


def test_without_the_name() -> None:
    """Many tables refer to that parent, by columns that may be NULL, and the data say another tenant."""
    tables = [table(f"t{number}", "tenant_id > tenants", "alpha? > users") for number in range(4)]
    given = {f"t{number}": Rows(paths={"alpha": (10, 5)}) for number in range(4)}
    assert audit_columns(*tables, given=given) == {f"t{number}.alpha" for number in range(4)}
    assert audit_columns(*tables) == set()
    assert audit_columns(*tables, given={"t0": Rows(paths={"alpha": (100, 4)}, rows=100)}) == set()


def test_what_is_called_so_elsewhere_is_the_same() -> None:
    """In a table where the data say nothing: it is called as one that was found, and leads to the same parent."""
    tables = [table(f"t{number}", "tenant_id > tenants", "alpha? > users") for number in range(4)]
    given = {"t0": Rows(paths={"alpha": (10, 5)})}
    assert audit_columns(*tables, table("late", "alpha? > users"), given=given) == {
        "t0.alpha", "t1.alpha", "t2.alpha", "t3.alpha", "late.alpha",
    }  # fmt: skip


def test_a_key_that_is_never_null_is_no_hint_without_a_name() -> None:
    tables = [table(f"t{number}", "tenant_id > tenants", "alpha > users") for number in range(4)]
    given = {f"t{number}": Rows(paths={"alpha": (10, 5)}) for number in range(4)}
    assert audit_columns(*tables, given=given) == set()
