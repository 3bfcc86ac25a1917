"""What the application is, can become and may use beside its tables is named, whichever way it came to it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from psycopg.conninfo import make_conninfo

from checks.isolated_tenants import LEGACY, ROLE, SPEC, findings_of, isolated_orders, serious
from daily import daily, nightly
from preflights import SHOP, check, named
from servers import Database
from tenantry.checks.isolation import isolated
from tenantry.checks.isolation.catalog import isolation
from tenantry.checks.isolation.probes import experiment
from tenantry.model.finding import Finding, Severity
from tenantry.model.plan import Phase
from tenantry.postgres.connect import Target

pytestmark = [
    pytest.mark.server,
    pytest.mark.differs(
        "checks/isolation/catalog.py", "checks/isolation/sql/experiment.sql", "execution/preflight/roles.py",
        "postgres/powers.py", "postgres/sql/powers.sql",
    ),
]  # fmt: skip
__all__ = ["isolated_orders"]

Role = Callable[..., str]


def of(findings: list[Finding], name: str) -> list[tuple[Severity, str]]:
    return [(one.severity, one.message) for one in findings if one.name == name]


@pytest.fixture
def web(isolated_orders: Database, role: Role) -> str:
    """Who logs in as the application."""
    name = role("LOGIN", name="web")
    isolated_orders.execute(f"GRANT {ROLE} TO {name}")
    return name


@pytest.mark.parametrize(
    ("power", "severity"),
    [
        ("pg_execute_server_program", Severity.ERROR), ("pg_read_server_files", Severity.ERROR),
        ("pg_write_server_files", Severity.ERROR), ("pg_read_all_data", Severity.ERROR),
        ("pg_write_all_data", Severity.ERROR), ("pg_monitor", Severity.WARNING),
        ("pg_signal_backend", Severity.WARNING),
    ],
)  # fmt: skip
def test_predefined_roles(isolated_orders: Database, web: str, role: Role, power: str, severity: Severity) -> None:
    """Those of a login too, and through a role between, by SET ROLE alone; pg_monitor is one, not four."""
    between = role("NOLOGIN", name="between")
    isolated_orders.execute(f"GRANT {between} TO {web}; GRANT {power} TO {between}; ALTER ROLE {web} NOINHERIT")
    ((said, message),) = of(findings_of(isolated_orders, isolation), "application-power")
    assert said is severity
    assert power in message
    (finding,) = [one for one in findings_of(isolated_orders, isolation) if one.name == "application-power"]
    isolated_orders.execute(finding.remedy.removesuffix("."))
    assert of(findings_of(isolated_orders, isolation), "application-power") == []


@pytest.mark.parametrize(
    ("option", "severity"),
    [("REPLICATION", Severity.ERROR), ("CREATEDB", Severity.INFO)],
)
def test_attributes_of_whom_it_can_become(
    isolated_orders: Database, web: str, role: Role, option: str, severity: Severity
) -> None:
    mighty = role(f"NOLOGIN {option}", name="mighty")
    isolated_orders.execute(f"GRANT {mighty} TO {web}")
    ((said, message),) = of(findings_of(isolated_orders, isolation), "application-power")
    assert (said, option in message, mighty in message) == (severity, True, True)


def test_functions_that_came_closed(isolated_orders: Database, web: str) -> None:
    """Of PostgreSQL and of an extension; what was open from the start is nobody's fault."""
    isolated_orders.execute(
        "CREATE EXTENSION dblink; GRANT EXECUTE ON FUNCTION lo_import(text) TO PUBLIC;"
        f"GRANT EXECUTE ON FUNCTION dblink_connect_u(text), pg_read_file(text) TO {web}"
    )
    findings = [one for one in findings_of(isolated_orders, isolation) if one.name == "application-power"]
    assert {one.severity for one in findings} == {Severity.ERROR}
    assert sorted(sample["function"] for one in findings for sample in one.samples) == [
        "lo_import(text)", "pg_read_file(text)", "public.dblink_connect_u(text)",
    ]  # fmt: skip
    for finding in findings:
        isolated_orders.execute(finding.remedy.removesuffix("."))
    assert of(findings_of(isolated_orders, isolation), "application-power") == []


@pytest.mark.pg(">= 15")
def test_a_setting_that_switches_off_keys(isolated_orders: Database, role: Role) -> None:
    name = role(name="app")
    isolated_orders.execute(f"GRANT SET ON PARAMETER session_replication_role TO {name}")
    try:
        ((severity, message),) = of(
            findings_of(isolated_orders, isolation, spec=SPEC.replace(ROLE, name)), "application-power"
        )
    finally:
        isolated_orders.execute(f"REVOKE SET ON PARAMETER session_replication_role FROM {name}")
    assert severity is Severity.ERROR
    assert "session_replication_role" in message


def test_functions_of_triggers_that_are_its_own(isolated_orders: Database) -> None:
    isolated_orders.execute(
        "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"
        f"ALTER FUNCTION mine() OWNER TO {ROLE};"
        "CREATE TRIGGER mine BEFORE INSERT ON line FOR EACH ROW EXECUTE FUNCTION mine()"
    )
    ((severity, message),) = of(findings_of(isolated_orders, isolation), "application-owns")
    assert severity is Severity.ERROR
    assert "public.mine()" in message


def test_preflight_refuses_what_validate_finds(database: Database, role: Role) -> None:
    """--force goes on; a warning stops nobody."""
    app, watching = role("NOLOGIN", name="app"), role("NOLOGIN", name="watching")
    database.execute(SHOP)
    database.execute(f"GRANT pg_read_server_files TO {app}; GRANT pg_monitor TO {watching}")
    for name, refuses in ((app, True), (watching, False)):
        (finding,) = named(check(database, until=Phase.ISOLATE, application=f'role = "{name}"'), "application-power")
        assert (finding.refuses, finding.forcible) == (refuses, True)
    assert named(check(database, until=Phase.ENFORCE, application=f'role = "{app}"'), "application-power") == []


# -- Tables and views


MADE = {
    "table": "CREATE TABLE {0} (id int)",
    "partitioned": "CREATE TABLE {0} (id int) PARTITION BY LIST (id)",
    "heir": "CREATE TABLE {0} () INHERITS (line)",
}
GRANTS = ("SELECT ON {0} TO " + ROLE, "SELECT (id) ON {0} TO PUBLIC", "DELETE ON {0} TO {1}")


@pytest.mark.parametrize(
    ("made", "grant"),
    [
        case if number % 4 == 0 else nightly(case)  # each of both once
        for number, case in enumerate(product(MADE.values(), GRANTS))
    ],
)
def test_tables_that_appeared_since(isolated_orders: Database, web: str, made: str, grant: str) -> None:
    isolated_orders.execute(f"{made.format('later')}; GRANT {grant.format('later', web)}")
    assert [
        (one.severity, str(one.table)) for one in findings_of(isolated_orders, isolation) if one.name == "table-open"
    ] == [(Severity.ERROR, "public.later")]


def test_tables_that_are_not_open(isolated_orders: Database) -> None:
    isolated_orders.execute(
        f"CREATE TABLE later (id int); CREATE SCHEMA closed; CREATE TABLE closed.one (id int);"
        f"GRANT SELECT ON closed.one TO {ROLE}"
    )
    assert serious(findings_of(isolated_orders, isolation)) == []


def test_copies_in_other_schemas_and_what_we_keep(isolated_orders: Database) -> None:
    isolated_orders.execute(
        'CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.copy AS SELECT * FROM "Order";'
        f"GRANT USAGE ON SCHEMA elsewhere, tenantry TO {ROLE};"
        f"GRANT SELECT ON elsewhere.copy, tenantry.runs TO {ROLE}"
    )
    assert {(one.severity, str(one.table)) for one in findings_of(isolated_orders, isolation) if one.name == "table-open"} == {
        (Severity.WARNING, "elsewhere.copy"), (Severity.ERROR, "tenantry.runs"),
    }  # fmt: skip


@pytest.mark.pg(">= 15")
def test_views_that_read_as_their_owner(isolated_orders: Database) -> None:
    """Also one that no plan betrays, of a view, and of a table that the spec does not know."""
    isolated_orders.execute(f"""
        CREATE VIEW mixture AS SELECT code FROM "Order" UNION ALL SELECT 'x';
        CREATE VIEW above AS SELECT * FROM mixture;
        CREATE VIEW asking WITH (security_invoker) AS SELECT * FROM mixture;
        CREATE TABLE secret (id int); CREATE VIEW shown AS SELECT * FROM secret;
        CREATE VIEW harmless AS SELECT * FROM country;
        CREATE VIEW over AS SELECT * FROM totals;
        GRANT SELECT ON above, shown, harmless, asking, over TO {ROLE};
    """)
    findings = [one for one in findings_of(isolated_orders, isolation) if one.name == "view-reads-as-owner"]
    assert {(one.severity, str(one.table)) for one in findings} == {
        (Severity.ERROR, "public.above"), (Severity.ERROR, "public.shown"),
    }  # fmt: skip


DEFINER = "CREATE {} public.{}() {} LANGUAGE {} SECURITY DEFINER {}"


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (DEFINER.format("FUNCTION", "f", "RETURNS int", "plpgsql",
                        "AS $$ BEGIN EXECUTE 'SEL' || 'ECT 1'; RETURN 1; END $$"), True),
        (DEFINER.format("FUNCTION", "f", "RETURNS xml", "sql", "AS $$ SELECT query_to_xml('sel' || 'ect', true, true, '') $$"),
         True),
        ("CREATE FUNCTION inside() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM public.line';"
         + DEFINER.format("FUNCTION", "f", "RETURNS bigint", "sql", "AS 'SELECT public.inside()'"), True),
        (DEFINER.format("FUNCTION", "f", "RETURNS bigint", "sql", "BEGIN ATOMIC SELECT count(*) FROM public.line; END"), True),
        (DEFINER.format("PROCEDURE", "f", "", "sql", "AS 'DELETE FROM public.line'"), True),
        (DEFINER.format("FUNCTION", "f", "RETURNS int", "plpgsql", "AS $$ BEGIN RETURN 1; END $$"), False),
    ],
    ids=["dynamic", "by a query as text", "by another", "standard body", "procedure", "harmless"],
)  # fmt: skip
def test_functions_that_run_as_their_owner(isolated_orders: Database, statements: str, named: bool) -> None:
    isolated_orders.execute(statements)
    said = [one.message for one in findings_of(isolated_orders, isolation) if one.name == "security-definer-function"]
    assert len(said) == named
    assert not named or "public.f()" in said[0]


# -- Own rows, and both ways to be the application


@pytest.mark.parametrize(
    ("statements", "severity", "table"),
    [
        (f"ALTER POLICY tenantry_application ON line TO {ROLE} USING (false)", Severity.ERROR, "public.line"),
        ("CREATE POLICY none ON tag AS RESTRICTIVE FOR SELECT USING (org IS NULL)", Severity.WARNING, "public.tag"),
        ("CREATE POLICY none ON tag AS RESTRICTIVE FOR SELECT USING (org IS NOT NULL)", Severity.WARNING, "public.tag"),
        ('CREATE POLICY none ON "Order" AS RESTRICTIVE USING (false)', Severity.ERROR, 'public."Order"'),
        ('CREATE POLICY partly ON "Order" AS RESTRICTIVE USING (total > 2)', Severity.WARNING, 'public."Order"'),
        (
            "INSERT INTO line (order_id, number, what) SELECT id, 2, 'more' FROM \"Order\" WHERE code = 'two1';"
            f"ALTER POLICY tenantry_application ON line TO {ROLE} USING (tenant_id = (SELECT NULLIF(current_setting("
            "'app.tenant_id', true), '')::uuid) AND number = 1)",
            Severity.ERROR, "public.line",
        ),
    ],
    ids=["nothing", "shared rows alone", "no shared rows", "somebody's own", "some", "some of one tenant"],
)  # fmt: skip
def test_tenants_see_their_own_rows(
    isolated_orders: Database, web: str, statements: str, severity: Severity, table: str
) -> None:
    """Both ways to be the application say the same."""
    isolated_orders.execute(statements)
    for application in (None, Target(make_conninfo(isolated_orders.dsn, user=web))):
        findings = findings_of(isolated_orders, experiment, application=application)
        assert [(one.name, one.severity, str(one.table)) for one in findings if one.severity is not Severity.INFO] == [
            ("own-rows-hidden", severity, table)
        ]


def test_rows_of_a_third_tenant(isolated_orders: Database) -> None:
    """Neither the first nor the last is let in on, nor lets in."""
    isolated_orders.execute("""
        INSERT INTO tenants VALUES ('00000000-0000-0000-0000-000000000009', 'nine', 'Nine');
        INSERT INTO "Order" (org, code) VALUES ('00000000-0000-0000-0000-000000000009', 'nine1');
        DROP POLICY tenantry_floor ON "Order";
        CREATE POLICY wide ON "Order" FOR SELECT USING (org = '00000000-0000-0000-0000-000000000002');
    """)
    findings = [one for one in findings_of(isolated_orders, experiment) if one.name == "tenants-not-apart"]
    assert [str(one.table) for one in findings] == ['public."Order"']


@pytest.mark.parametrize(
    "statement",
    daily(
        ["SELECT", "ALTER ROLE {0} BYPASSRLS", "ALTER TABLE line DISABLE ROW LEVEL SECURITY", f"GRANT {LEGACY} TO {{0}}",
         "GRANT TRUNCATE ON line TO {0}", "GRANT pg_read_server_files TO {0}",
         "CREATE TABLE later (id int); GRANT SELECT ON later TO {0}"], 3,
    ),
)  # fmt: skip
def test_both_ways_come_to_the_same_verdict(isolated_orders: Database, web: str, statement: str) -> None:
    """By SET ROLE, and by the application's own connection."""
    isolated_orders.execute(statement.format(web))
    verdicts = [
        bool(serious(findings_of(isolated_orders, isolated, application=application)))
        for application in (None, Target(make_conninfo(isolated_orders.dsn, user=web)))
    ]
    assert verdicts == [statement != "SELECT"] * 2


def test_a_login_that_takes_the_role_on(isolated_orders: Database, role: Role) -> None:
    """As applications do that log in as one role for several."""
    gate = role("LOGIN NOINHERIT", name="gate")
    isolated_orders.execute(f"GRANT {ROLE} TO {gate}")
    application = Target(make_conninfo(isolated_orders.dsn, user=gate))
    assert serious(findings_of(isolated_orders, isolated, application=application)) == []
    isolated_orders.execute("ALTER TABLE line DISABLE ROW LEVEL SECURITY")
    assert {table for name, table, _ in serious(findings_of(isolated_orders, isolated, application=application))} == {
        "public.line"
    }
