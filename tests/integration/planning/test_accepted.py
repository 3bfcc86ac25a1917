"""Findings that somebody has looked at, and that stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from conftest import Command
from tenantry import validate
from tenantry.errors import ExitStatus, Refused, UsageError
from tenantry.model.finding import Severity
from tenantry.model.plan import Phase
from tenantry.model.spec import AcceptPart

SCHEMA = """
CREATE TABLE partners (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants,
  head_id integer NOT NULL REFERENCES partners);
CREATE TABLE groups (id integer PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants,
  head_id integer NOT NULL REFERENCES groups);
INSERT INTO partners VALUES (1, 1, 1), (2, 1, 1), (3, 2, 3);
INSERT INTO groups VALUES (1, 1, 1), (2, 2, 2);
"""
TABLES = """
[[table]]
name = "partners"
paths = [["tenant_id"]]
[[table]]
name = "groups"
paths = [["tenant_id"]]
"""
REASON = "a partner may be its own head office"


def accepting(shop: Any, *parts: AcceptPart) -> Any:
    return replace(shop, spec=shop.spec.model_copy(update={"accept": parts}))


def test_an_accepted_finding(business: Callable[..., Any]) -> None:
    """It is shown with the reason, and is none any more; of the other table it is one still."""
    shop = business(SCHEMA, TABLES)
    shop.migrate(Phase.CONTRACT)
    verdict = validate(shop.target, shop.spec)
    assert {(one.name, one.table.name) for one in verdict.findings if one.severity.serious and one.table} == {
        ("reference-cycle", "partners"), ("reference-cycle", "groups"),
    }  # fmt: skip
    # Their key is NOT NULL.
    assert not any("NULL" in one.remedy for one in verdict.findings if one.name == "reference-cycle")
    one = validate(
        shop.target, accepting(shop, AcceptPart(check="reference-cycle", table="partners", reason=REASON)).spec
    )
    assert one.exit_status is ExitStatus.FINDINGS
    assert [(found.table.name, found.severity) for found in one.findings if found.name == "reference-cycle" and found.table] == [
        ("groups", Severity.ERROR), ("partners", Severity.ACCEPTED),
    ]  # fmt: skip
    assert REASON in one.findings[-1].message
    both = validate(shop.target, accepting(shop, AcceptPart(check="reference-cycle", reason=REASON)).spec)
    assert both.exit_status is ExitStatus.DONE
    assert "2 accepted findings" in both.outcome


def test_what_is_refused_cannot_be_accepted(business: Callable[..., Any]) -> None:
    """Nor is a table's name taken that is none."""
    shop = business(SCHEMA, TABLES)
    shop.execute(f"CREATE ROLE {shop.application}_other; GRANT SELECT ON partners TO {shop.application}_other")
    try:
        accepted = accepting(shop, AcceptPart(check="role-unclassified", reason="never mind"))
        with pytest.raises(Refused, match="will see no row of an owned table"):
            accepted.migrate(Phase.ISOLATE)
        for table, words in (('"', r"\[\[accept\]\]"), ("partner", 'did you mean "public.partners"')):
            with pytest.raises(UsageError, match=words):
                accepting(shop, AcceptPart(check="x", table=table, reason="y")).migrate(Phase.EXPAND)
        accepting(shop, AcceptPart(check="x", table="tenants", reason="y")).migrate(Phase.EXPAND)
    finally:
        shop.execute(f"DROP OWNED BY {shop.application}_other; DROP ROLE {shop.application}_other")


def test_accepted_in_the_terminal_and_the_report(
    business: Callable[..., Any], command: Callable[[str], Command]
) -> None:
    """The finding stands there with its reason, and COMPLETED can be reached."""
    shop = business(SCHEMA, TABLES)
    made = command(shop.database.dsn)
    spec = f'[tenant]\ntable = "tenants"\n[application]\nrole = "{shop.application}"\n{TABLES}'
    accept = f'[[accept]]\ncheck = "reference-cycle"\nreason = "{REASON}"\n'
    (made.folder / "tenantry.toml").write_text(spec + accept)
    assert made("migrate").status == 0
    outcome = made("validate", "--export-report")
    assert outcome.status == 0, outcome.stdout
    assert "accepted" in outcome.stdout
    assert REASON in " ".join(outcome.stdout.split())
    (page,) = made.folder.rglob("validation-report-*.html")
    assert REASON in page.read_text()
    assert "COMPLETED" in made("status").stdout
