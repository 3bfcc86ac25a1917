"""What leads around the policies is found in the catalog: each way by itself, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from checks.isolated_tenants import LEGACY, ROLE, SPEC, findings_of, isolated_orders, serious
from servers import Database
from tenantry.checks.isolation.catalog import isolation

pytestmark = [pytest.mark.server, pytest.mark.differs("checks/isolation/catalog.py")]
__all__ = ["isolated_orders"]

DEFINER = "CREATE FUNCTION public.{}() RETURNS {} LANGUAGE {} SECURITY DEFINER AS $${}$$;"


def test_a_migrated_database_has_none(isolated_orders: Database) -> None:
    assert serious(findings_of(isolated_orders, isolation)) == []


def test_nothing_is_said_before_isolate(database: Database) -> None:
    database.execute("CREATE TABLE tenants (id int PRIMARY KEY, slug text); CREATE TABLE a (t int REFERENCES tenants)")
    spec = '[tenant]\ntable = "tenants"\n[[table]]\nname = "a"\npaths = [["t"]]'
    assert findings_of(database, isolation, spec=spec) == []


def test_what_only_others_may_call_is_no_way(isolated_orders: Database) -> None:
    """Neither a function that nobody may call, nor a policy for others, nor a restrictive one, nor a rule that does
    nothing, nor a foreign table or materialised view that is not theirs."""
    isolated_orders.execute(
        DEFINER.format("every", 'SETOF "Order"', "sql", 'SELECT * FROM public."Order"')
        + "REVOKE ALL ON FUNCTION every() FROM PUBLIC;"
        f'CREATE POLICY others ON "Order" TO {LEGACY} USING (true);'
        'CREATE POLICY narrow ON "Order" AS RESTRICTIVE USING (total > 0);'
        "CREATE RULE nothing AS ON DELETE TO tag DO INSTEAD NOTHING;"
        "CREATE MATERIALIZED VIEW summary AS SELECT count(*) FROM line"
    )
    assert serious(findings_of(isolated_orders, isolation)) == []


def test_a_publication_is_told_of(isolated_orders: Database) -> None:
    isolated_orders.execute('CREATE PUBLICATION out FOR TABLE "Order", line, country')
    findings = [finding for finding in findings_of(isolated_orders, isolation) if finding.name == "publication"]
    assert [finding.count for finding in findings] == [2]


def test_views_before_15_are_told_of(isolated_orders: Database) -> None:
    told = [finding.count for finding in findings_of(isolated_orders, isolation) if finding.name == "views-as-owner"]
    assert told == ([3] if isolated_orders.server.major < 15 else [])


@pytest.mark.pg("< 15")
def test_a_view_that_others_may_read_shows_all_before_15(isolated_orders: Database) -> None:
    isolated_orders.execute("GRANT SELECT ON totals TO PUBLIC")
    assert serious(findings_of(isolated_orders, isolation)) == [("view-reads-as-owner", "public.totals", None)]


@pytest.mark.parametrize(
    ("options", "said"),
    [("BYPASSRLS", "has BYPASSRLS"), ("SUPERUSER", "is a superuser")],
    ids=["bypasses", "superuser"],
)
def test_a_role_that_no_policy_holds(
    isolated_orders: Database, role: Callable[..., str], options: str, said: str
) -> None:
    name = role(options, name="mighty")
    findings = findings_of(isolated_orders, isolation, spec=SPEC.replace(ROLE, name))
    unsafe = [finding for finding in findings if finding.name == "application-role-unsafe"]
    assert len(unsafe) == 1
    assert said in unsafe[0].message
    assert "application-reaches-role" not in {finding.name for finding in findings}


def test_an_owner_is_not_told_all_its_privileges(isolated_orders: Database, role: Callable[..., str]) -> None:
    name = role("NOLOGIN", name="owning")
    isolated_orders.execute(f"ALTER TABLE line OWNER TO {name}")
    findings = serious(findings_of(isolated_orders, isolation, spec=SPEC.replace(ROLE, name)))
    assert {name for name, table, _ in findings if table in ("", "public.line")} == {"application-role-unsafe"}


@pytest.mark.parametrize("inherits", ["INHERIT", "NOINHERIT"])
def test_a_role_that_can_become_one_that_sees_all(
    isolated_orders: Database, role: Callable[..., str], inherits: str
) -> None:
    """By inheritance, or by SET ROLE alone."""
    name = role(inherits, name="climbing")
    isolated_orders.execute(f"GRANT {LEGACY} TO {name}")
    findings = findings_of(isolated_orders, isolation, spec=SPEC.replace(ROLE, name))
    assert [finding.samples for finding in findings if finding.name == "application-reaches-role"] == [
        ({"role": LEGACY},)
    ]


@pytest.mark.pg(">= 16")
@pytest.mark.parametrize(
    ("options", "way"),
    [
        ("ADMIN FALSE, INHERIT FALSE, SET FALSE", False),
        ("ADMIN TRUE, INHERIT FALSE, SET FALSE", True),
        ("ADMIN FALSE, INHERIT TRUE, SET FALSE", True),
        ("ADMIN FALSE, INHERIT FALSE, SET TRUE", True),
    ],
)
def test_each_option_of_a_membership_is_a_way(
    isolated_orders: Database, role: Callable[..., str], options: str, way: bool
) -> None:
    """Who may grant a role, may grant it to itself; and so through a role between."""
    for between in (False, True):
        name = role(name="climbing")
        above = role("NOLOGIN", name="between") if between else name
        if between:
            isolated_orders.execute(f"GRANT {above} TO {name} WITH INHERIT TRUE, SET TRUE")
        isolated_orders.execute(f"GRANT {LEGACY} TO {above} WITH {options}")
        findings = findings_of(isolated_orders, isolation, spec=SPEC.replace(ROLE, name))
        assert ("application-reaches-role" in {finding.name for finding in findings}) is way


def test_a_tenant_by_default(isolated_orders: Database, role: Callable[..., str]) -> None:
    """A session of the application that names no tenant would be one."""
    login, stranger = role("LOGIN", name="web"), role("LOGIN", name="stranger")
    isolated_orders.execute(f"GRANT {ROLE} TO {login}; ALTER ROLE {login} SET app.tenant_id = '1'")
    isolated_orders.execute(f"ALTER ROLE {stranger} SET app.tenant_id = '1'")
    assert serious(findings_of(isolated_orders, isolation)) == [("tenant-by-default", "", None)]
    isolated_orders.execute(
        f"ALTER ROLE {login} RESET app.tenant_id; ALTER DATABASE {isolated_orders.name} SET app.tenant_id = '1'"
    )
    assert serious(findings_of(isolated_orders, isolation)) == [("tenant-by-default", "", None)]


def test_only_wanted_tables_are_looked_at(isolated_orders: Database) -> None:
    isolated_orders.execute('CREATE POLICY open ON "Order" USING (true); CREATE POLICY open ON line USING (true)')
    isolated_orders.execute("GRANT TRUNCATE ON line, tag TO PUBLIC")
    with_line: Any = frozenset(name for name in _names(isolated_orders) if name.name == "line")
    findings = serious(findings_of(isolated_orders, isolation, tables=with_line))
    assert {table for _, table, _ in findings} == {"public.line"}


def _names(database: Database) -> Any:
    from checks.isolated_tenants import check_context

    with check_context(database) as standing:
        return tuple(standing.live.tables)
