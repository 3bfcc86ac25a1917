"""What leads around the policies is found in the catalog: each way by itself, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from checks.apart import LEGACY, ROLE, SPEC, apart, found, serious
from servers import Database
from tenantry.checks.isolation import isolation

pytestmark = pytest.mark.server
__all__ = ["apart"]

DEFINER = "CREATE FUNCTION public.{}() RETURNS {} LANGUAGE {} SECURITY DEFINER AS $${}$$;"

FAULTS: dict[str, tuple[str, tuple[str, str, int | None]]] = {
    "a policy for everybody": (
        'CREATE POLICY open ON "Order" USING (true)',
        ("policy-added", 'public."Order"', 1),
    ),
    "a policy that is named like ours": (
        f"CREATE POLICY tenantry_more ON tag FOR SELECT TO {ROLE} USING (true)",
        ("policy-added", "public.tag", 1),
    ),
    "a policy on a partition": (
        "CREATE POLICY open ON event_2025 USING (true); CREATE POLICY wide ON event_2025 USING (true)",
        ("policy-added", "public.event_2025", 2),
    ),
    "TRUNCATE through PUBLIC": (
        "GRANT TRUNCATE ON line TO PUBLIC",
        ("privilege-past-policies", "public.line", 1),
    ),
    "REFERENCES on a column, and TRIGGER": (
        f'GRANT REFERENCES (id), TRIGGER ON "Order" TO {ROLE}',
        ("privilege-past-policies", 'public."Order"', 2),
    ),
    "TRUNCATE on a partition": (
        f"GRANT TRUNCATE ON event_rest TO {ROLE}",
        ("privilege-past-policies", "public.event_rest", 1),
    ),
    "writing what all read": (
        f"GRANT INSERT, DELETE ON country TO {ROLE}",
        ("shared-table-writable", "public.country", 2),
    ),
    "writing the tenant table": (
        "GRANT UPDATE (name) ON tenants TO PUBLIC",
        ("shared-table-writable", "public.tenants", 1),
    ),
    "a materialised view": (
        "CREATE MATERIALIZED VIEW summary AS SELECT org, count(*) FROM \"Order\" GROUP BY org;"
        "GRANT SELECT ON summary TO PUBLIC",
        ("materialized-view-granted", "public.summary", None),
    ),
    "a function of the owner": (
        DEFINER.format("every", 'SETOF "Order"', "sql", 'SELECT * FROM public."Order"'),
        ("security-definer-function", 'public."Order"', None),
    ),
    "a trigger function that nobody may call": (
        DEFINER.format("peek", "trigger", "plpgsql", "BEGIN PERFORM 1 FROM public.line; RETURN NEW; END")
        + "REVOKE ALL ON FUNCTION peek() FROM PUBLIC;"
        "CREATE TRIGGER peek BEFORE INSERT ON country FOR EACH ROW EXECUTE FUNCTION peek()",
        ("security-definer-function", "public.line", None),
    ),
    "a rule": (
        'CREATE RULE copy AS ON INSERT TO country DO ALSO UPDATE "Order" SET total = 0',
        ("rule-runs-as-owner", "public.country", 1),
    ),
    "a foreign table": (
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;"
        f"CREATE FOREIGN TABLE far (id int) SERVER nowhere; GRANT SELECT ON far TO {ROLE}",
        ("foreign-table-open", "public.far", 1),
    ),
    "a foreign partition": (
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;"
        "CREATE TABLE log (at int) PARTITION BY LIST (at);"
        "CREATE FOREIGN TABLE log_1 PARTITION OF log FOR VALUES IN (1) SERVER nowhere;"
        "GRANT SELECT, INSERT ON log_1 TO PUBLIC",
        ("foreign-table-open", "public.log_1", 2),
    ),
}  # fmt: skip


def test_a_migrated_database_has_none(apart: Database) -> None:
    assert serious(found(apart, isolation)) == []


def test_nothing_is_said_before_isolate(database: Database) -> None:
    database.execute("CREATE TABLE tenants (id int PRIMARY KEY, slug text); CREATE TABLE a (t int REFERENCES tenants)")
    spec = '[tenant]\ntable = "tenants"\n[[table]]\nname = "a"\npaths = [["t"]]'
    assert found(database, isolation, spec=spec) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_each_way_around_is_found(apart: Database, fault: str) -> None:
    statements, expected = FAULTS[fault]
    apart.execute(statements)
    findings = found(apart, isolation)
    assert serious(findings) == [expected]
    assert all(finding.remedy.endswith(".") and finding.family is not None for finding in findings)


def test_what_only_others_may_call_is_no_way(apart: Database) -> None:
    """Neither a function that nobody may call, nor a policy for others, nor a restrictive one, nor a rule that does
    nothing, nor a foreign table or materialised view that is not theirs."""
    apart.execute(
        DEFINER.format("every", 'SETOF "Order"', "sql", 'SELECT * FROM public."Order"')
        + "REVOKE ALL ON FUNCTION every() FROM PUBLIC;"
        f'CREATE POLICY others ON "Order" TO {LEGACY} USING (true);'
        'CREATE POLICY narrow ON "Order" AS RESTRICTIVE USING (total > 0);'
        "CREATE RULE nothing AS ON DELETE TO tag DO INSTEAD NOTHING;"
        "CREATE MATERIALIZED VIEW summary AS SELECT count(*) FROM line"
    )
    assert serious(found(apart, isolation)) == []


def test_a_publication_is_told_of(apart: Database) -> None:
    apart.execute('CREATE PUBLICATION out FOR TABLE "Order", line, country')
    findings = [finding for finding in found(apart, isolation) if finding.name == "publication"]
    assert [finding.count for finding in findings] == [2]


def test_views_before_15_are_told_of(apart: Database) -> None:
    told = [finding.count for finding in found(apart, isolation) if finding.name == "views-as-owner"]
    assert told == ([3] if apart.server.major < 15 else [])


@pytest.mark.pg("< 15")
def test_a_view_that_others_may_read_shows_all_before_15(apart: Database) -> None:
    apart.execute("GRANT SELECT ON totals TO PUBLIC")
    assert serious(found(apart, isolation)) == [("view-reads-as-owner", "public.totals", None)]


@pytest.mark.parametrize(
    ("options", "said"),
    [("BYPASSRLS", "has BYPASSRLS"), ("SUPERUSER", "is a superuser")],
    ids=["bypasses", "superuser"],
)
def test_a_role_that_no_policy_holds(apart: Database, role: Callable[..., str], options: str, said: str) -> None:
    name = role(options, name="mighty")
    findings = found(apart, isolation, spec=SPEC.replace(ROLE, name))
    unsafe = [finding for finding in findings if finding.name == "application-role-unsafe"]
    assert len(unsafe) == 1
    assert said in unsafe[0].message
    assert "application-reaches-role" not in {finding.name for finding in findings}


def test_an_owner_is_not_told_all_its_privileges(apart: Database, role: Callable[..., str]) -> None:
    name = role("NOLOGIN", name="owning")
    apart.execute(f"ALTER TABLE line OWNER TO {name}")
    findings = serious(found(apart, isolation, spec=SPEC.replace(ROLE, name)))
    assert {name for name, table, _ in findings if table in ("", "public.line")} == {"application-role-unsafe"}


@pytest.mark.parametrize("inherits", ["INHERIT", "NOINHERIT"])
def test_a_role_that_can_become_one_that_sees_all(apart: Database, role: Callable[..., str], inherits: str) -> None:
    """By inheritance, or by SET ROLE alone."""
    name = role(inherits, name="climbing")
    apart.execute(f"GRANT {LEGACY} TO {name}")
    findings = found(apart, isolation, spec=SPEC.replace(ROLE, name))
    assert [finding.samples for finding in findings if finding.name == "application-reaches-role"] == [
        ({"role": LEGACY},)
    ]


@pytest.mark.pg(">= 16")
def test_a_membership_without_its_privileges_is_no_way(apart: Database, role: Callable[..., str]) -> None:
    name = role(name="administering")
    apart.execute(f"GRANT {LEGACY} TO {name} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    findings = found(apart, isolation, spec=SPEC.replace(ROLE, name))
    assert "application-reaches-role" not in {finding.name for finding in findings}


def test_a_tenant_by_default(apart: Database, role: Callable[..., str]) -> None:
    """A session of the application that names no tenant would be one."""
    login, stranger = role("LOGIN", name="web"), role("LOGIN", name="stranger")
    apart.execute(f"GRANT {ROLE} TO {login}; ALTER ROLE {login} SET app.tenant_id = '1'")
    apart.execute(f"ALTER ROLE {stranger} SET app.tenant_id = '1'")
    assert serious(found(apart, isolation)) == [("tenant-by-default", "", None)]
    apart.execute(f"ALTER ROLE {login} RESET app.tenant_id; ALTER DATABASE {apart.name} SET app.tenant_id = '1'")
    assert serious(found(apart, isolation)) == [("tenant-by-default", "", None)]


def test_only_wanted_tables_are_looked_at(apart: Database) -> None:
    apart.execute('CREATE POLICY open ON "Order" USING (true); CREATE POLICY open ON line USING (true)')
    apart.execute("GRANT TRUNCATE ON line, tag TO PUBLIC")
    with_line: Any = frozenset(name for name in _names(apart) if name.name == "line")
    findings = serious(found(apart, isolation, tables=with_line))
    assert {table for _, table, _ in findings} == {"public.line"}


def _names(database: Database) -> Any:
    from checks.apart import ground

    with ground(database) as standing:
        return tuple(standing.live.tables)
