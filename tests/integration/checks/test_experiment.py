"""Isolation by experiment: what the application role is let do is found by trying, and trying changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from acceptance.round_trip import checksums
from checks.isolated_tenants import ROLE, SPEC, check_context, findings_of, isolated_orders, serious
from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.checks.isolation import probes
from tenantry.checks.isolation.catalog import isolation
from tenantry.checks.isolation.probes import experiment
from tenantry.errors import UsageError
from tenantry.model.finding import Finding
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target

pytestmark = pytest.mark.server
__all__ = ["isolated_orders"]

ORDER, LINE, TAG = 'public."Order"', "public.line", "public.tag"
OWN = "{} = NULLIF(current_setting('app.tenant_id', true), '')::uuid"


def holes(findings: list[Finding]) -> dict[str, tuple[int | None, set[tuple[str, str]]]]:
    """By table: how many attempts got through, and which, with whether a tenant was named."""
    return {
        str(finding.table): (
            finding.count,
            {
                (str(sample["attempt"]), "none" if sample["as"] == "no tenant" else "another")
                for sample in finding.samples
            },
        )
        for finding in findings
        if finding.name == "tenants-not-apart"
    }


def tried(findings: list[Finding]) -> int:
    return next(finding.count or 0 for finding in findings if finding.name == "tenants-tried")


def undecided(findings: list[Finding]) -> list[Any]:
    return [sample for finding in findings if finding.name == "experiment-undecided" for sample in finding.samples]


def without_floor(table: str, *, policies: str) -> str:
    """The table with these policies for the application, and no others of ours."""
    return f"DROP POLICY tenantry_application ON {table}; DROP POLICY tenantry_floor ON {table}; {policies}"


def only(table: str, column: str, command: str, clauses: str) -> str:
    """Policies that let a tenant have its own rows, but for one command."""
    own = OWN.format(column)
    conditions = {
        "SELECT": f"USING ({own})", "INSERT": f"WITH CHECK ({own})", "UPDATE": f"USING ({own})",
        "DELETE": f"USING ({own})",
    } | {command: clauses}  # fmt: skip
    policies = "; ".join(f"CREATE POLICY a_{name} ON {table} FOR {name} {text}" for name, text in conditions.items())
    return without_floor(table, policies=policies)


def test_no_tenant_gets_at_another(isolated_orders: Database) -> None:
    findings = findings_of(isolated_orders, experiment)
    assert serious(findings) == []
    assert undecided(findings) == []
    assert tried(findings) > 80
    assert [finding.message for finding in findings if "succeeded on 0" in finding.message]


def test_without_row_security_everything_gets_through(isolated_orders: Database) -> None:
    isolated_orders.execute('ALTER TABLE "Order" DISABLE ROW LEVEL SECURITY')
    (count, ways), *others = holes(findings_of(isolated_orders, experiment)).values()
    assert not others
    assert ways == {
        ("read", "another"), ("update", "another"), ("delete", "another"), ("insert", "another"),
        ("give its own rows to another tenant", "another"), ("read", "none"), ("update", "none"), ("delete", "none"), ("insert", "none"),
        ("copy out", "none"),
    }  # fmt: skip
    # Two tenants, each tries six on the other, and nobody five.
    assert count == 2 * 6 + 5


HOLES = {
    "reading": (only('"Order"', "org", "SELECT", "USING (true)"), ORDER, {"read", "copy out"}),
    "reading one row": (only('"Order"', "org", "SELECT", f"USING (code = 'two5' OR {OWN.format('org')})"), ORDER, {"read", "copy out"}),
    "updating without reading": (only('"Order"', "org", "UPDATE", "USING (true)"), ORDER, {"update", "give its own rows to another tenant"}),
    "deleting without reading": (only('"Order"', "org", "DELETE", "USING (true)"), ORDER, {"delete"}),
    "inserting": (only('"Order"', "org", "INSERT", "WITH CHECK (true)"), ORDER, {"insert"}),
    "giving away": (
        only('"Order"', "org", "UPDATE", f"USING ({OWN.format('org')}) WITH CHECK (true)"), ORDER, {"give its own rows to another tenant"},
    ),
    "any tenant at all": (
        only("line", "tenant_id", "SELECT", "USING (NULLIF(current_setting('app.tenant_id', true), '') IS NOT NULL)"),
        LINE, {"read"},
    ),
    "a partition": (
        f"ALTER TABLE event_2025 DISABLE ROW LEVEL SECURITY; GRANT SELECT, DELETE ON event_2025 TO {ROLE}",
        "public.event_2025", {"read", "copy out", "delete"},
    ),
    "the tenant table": (
        "DROP POLICY tenantry_floor ON tenants; CREATE POLICY wide ON tenants USING (true)", "public.tenants",
        {"read", "copy out"},
    ),
    "shared rows": (
        "DROP POLICY tenantry_floor_update ON tag; CREATE POLICY wide ON tag FOR UPDATE USING (org IS NULL)",
        TAG, {"update", "update shared rows"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("hole", HOLES)
def test_each_hole_is_found(isolated_orders: Database, hole: str) -> None:
    statements, table, ways = HOLES[hole]
    isolated_orders.execute(statements)
    findings = findings_of(isolated_orders, experiment)
    ((leaking, (_, got)),) = holes(findings).items()
    assert (leaking, {what for what, _ in got}) == (table, ways)
    assert not undecided(findings)


@pytest.mark.pg(">= 15")
@pytest.mark.parametrize(
    ("statements", "view"),
    [
        ("ALTER VIEW totals RESET (security_invoker)", "public.totals"),
        ('CREATE VIEW whose AS SELECT org AS tenant_id, count(*) FROM "Order" GROUP BY org', "public.whose"),
    ],
    ids=["the rows", "the tenant"],
)
def test_a_view_that_runs_as_its_owner(isolated_orders: Database, statements: str, view: str) -> None:
    """And no view that reads it is blamed for it; nor is one that counts nothing, and says 0."""
    isolated_orders.execute(f"{statements}; GRANT SELECT ON {view}, amounts TO {ROLE}")
    assert {table: count for table, (count, _) in holes(findings_of(isolated_orders, experiment)).items()} == {view: 1}


def test_nothing_is_changed_and_no_sequence_is_drawn_from(isolated_orders: Database) -> None:
    """Not by serial and identity columns, nor by triggers, whether or not something gets through."""
    isolated_orders.execute("""
        CREATE SEQUENCE numbers; CREATE TABLE journal (at timestamptz); GRANT ALL ON journal, numbers TO PUBLIC;
        CREATE FUNCTION draws() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          PERFORM nextval('public.numbers'); RETURN NEW; END $$;
        CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
          INSERT INTO public.journal VALUES (now()); RETURN NULL; END $$;
        CREATE TRIGGER draws BEFORE INSERT OR UPDATE ON line FOR EACH ROW EXECUTE FUNCTION draws();
        CREATE TRIGGER draws BEFORE INSERT OR UPDATE OR DELETE ON tag FOR EACH STATEMENT EXECUTE FUNCTION draws();
        CREATE TRIGGER notes AFTER INSERT OR UPDATE OR DELETE ON "Order" FOR EACH ROW EXECUTE FUNCTION notes();
    """)
    state = "SELECT schemaname || sequencename, last_value FROM pg_sequences ORDER BY 1"
    places = "SELECT 'o', ctid::text, xmin::text FROM \"Order\" UNION ALL SELECT 'l', ctid::text, xmin::text FROM line"
    for statements in (
        "SELECT",
        'ALTER TABLE "Order" DISABLE ROW LEVEL SECURITY; ALTER TABLE line DISABLE ROW LEVEL SECURITY',
    ):
        isolated_orders.execute(statements)
        before = checksums(isolated_orders), isolated_orders.rows(state), set(isolated_orders.rows(places))
        findings = findings_of(isolated_orders, experiment)
        assert (checksums(isolated_orders), isolated_orders.rows(state)) == before[:2]
        if statements == "SELECT":
            assert set(isolated_orders.rows(places)) == before[2]
        assert {(sample["table"], sample["attempt"]) for sample in undecided(findings)} == {
            (LINE, "insert"), (LINE, "give its own rows to another tenant"), (TAG, "insert"), (TAG, "update"), (TAG, "delete"),
            (TAG, "give its own rows to another tenant"), (TAG, "update shared rows"), (TAG, "delete shared rows"),
        }  # fmt: skip


def test_what_a_trigger_says_is_not_taken_for_an_answer(isolated_orders: Database) -> None:
    """It speaks before the policies do, and what it says, they might have said."""
    isolated_orders.execute("""
        CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF TG_OP = 'INSERT' THEN RAISE check_violation; END IF; RAISE insufficient_privilege; END $$;
        CREATE TRIGGER refuses BEFORE INSERT OR UPDATE ON line FOR EACH ROW EXECUTE FUNCTION refuses();
    """)
    findings = findings_of(isolated_orders, experiment)
    assert serious(findings) == []
    assert {(sample["table"], sample["attempt"]) for sample in undecided(findings)} == {
        (LINE, "insert"), (LINE, "give its own rows to another tenant"),
    }  # fmt: skip


def test_two_tables_at_a_time_give_the_same_findings(
    isolated_orders: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolated_orders.execute("""
        ALTER TABLE "Order" DISABLE ROW LEVEL SECURITY;
        CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE insufficient_privilege; END $$;
        CREATE TRIGGER refuses BEFORE INSERT OR UPDATE ON line FOR EACH ROW EXECUTE FUNCTION refuses();
    """)
    one = findings_of(isolated_orders, experiment)
    assert serious(one)
    assert undecided(one)
    monkeypatch.setattr(probes, "MANY", 1)
    sessions: list[Any] = []
    assert findings_of(isolated_orders, experiment, opened=sessions.append) == one
    # Each time our own and the application's: two beside those that one at a time has, of which one is the context's.
    assert len(sessions) == 3


def test_a_table_that_cannot_be_read_is_left_open(isolated_orders: Database) -> None:
    """As one whose heir is on a server that is away."""
    isolated_orders.execute("""
        CREATE EXTENSION postgres_fdw; CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (port '1');
        CREATE USER MAPPING FOR PUBLIC SERVER away;
        CREATE FOREIGN TABLE line_far () INHERITS (line) SERVER away;
    """)
    findings = findings_of(isolated_orders, experiment)
    assert serious(findings) == []
    assert {(sample["table"], sample["attempt"]) for sample in undecided(findings)} == {(LINE, "read")}


def test_others_are_neither_waited_for_nor_kept_waiting(isolated_orders: Database) -> None:
    """What rows that a writer has locked, or a table that somebody keeps to himself, hold up is left open soon."""
    with isolated_orders.connect() as writer, isolated_orders.connect() as hoarder:
        writer.execute('UPDATE "Order" SET total = 7; UPDATE line SET what = what')
        with check_context(isolated_orders) as standing:
            hoarder.execute("LOCK TABLE tag")
            findings = [finding for finding in experiment(standing) if isinstance(finding, Finding)]
        assert serious(findings) == []
        # Our trigger on lines locks the row that is to be given away, before the policies are asked.
        assert {(sample["table"], sample["attempt"]) for sample in undecided(findings)} == {
            (TAG, "read"), (LINE, "give its own rows to another tenant"),
        }  # fmt: skip
        with isolated_orders.connect(autocommit=True) as other:
            other.execute("SET lock_timeout = '100ms'")
            other.execute("UPDATE event SET at = at")


def test_one_tenant_alone(database: Database, role: Callable[..., str]) -> None:
    """Tenant zero, as after the usual first step: others are tried all the same."""
    name = role(create=False, name="app")
    database.execute("CREATE TABLE notes (id int PRIMARY KEY); INSERT INTO notes VALUES (1)")
    spec = f"""
        [tenant]
        table = "tenants"
        create = true
        default = "zero"
        [application]
        role = "{name}"
        [[table]]
        name = "notes"
        assign = {{ tenant = "zero" }}
    """
    migrate(Target(database.dsn), Spec.parse(spec), MigrateOptions(until=Phase.ISOLATE))
    assert serious(findings_of(database, experiment, spec=spec)) == []
    named = "USING (NULLIF(current_setting('app.tenant_id', true), '') IS NOT NULL)"
    database.execute(only("notes", "tenant_id", "SELECT", named))
    assert set(holes(findings_of(database, experiment, spec=spec))) == {"public.notes"}


def test_the_quarantine_is_nobodys(database: Database, role: Callable[..., str]) -> None:
    name = role(create=False, name="app")
    database.execute(
        "CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE); INSERT INTO tenants VALUES (5, 'five');"
        "CREATE TABLE notes (id int PRIMARY KEY, owner int REFERENCES tenants);"
        "INSERT INTO notes VALUES (1, 5), (2, NULL)"
    )
    spec = f"""
        [tenant]
        table = "tenants"
        [application]
        role = "{name}"
        [[table]]
        name = "notes"
        paths = [["owner"]]
        column = "tenant_id"
        orphans = "quarantine"
    """
    database.execute("ALTER TABLE tenants ALTER id ADD GENERATED BY DEFAULT AS IDENTITY (START 9)")
    migrate(Target(database.dsn), Spec.parse(spec), MigrateOptions(until=Phase.ISOLATE, force=True))
    assert serious(findings_of(database, experiment, spec=spec)) == []
    database.execute("DROP POLICY tenantry_quarantine ON notes")
    ((count, ways),) = holes(findings_of(database, experiment, spec=spec)).values()
    assert {what for what, _ in ways} == {"read", "update", "delete", "insert"}
    assert count == 4


# -- Who tries


def test_by_the_applications_own_connection(isolated_orders: Database, role: Callable[..., str]) -> None:
    login, mighty = role("LOGIN", name="web"), role("LOGIN BYPASSRLS", name="mighty")
    isolated_orders.execute(f"GRANT {ROLE} TO {login}, {mighty}")
    findings = findings_of(
        isolated_orders, experiment, application=Target(make_conninfo(isolated_orders.dsn, user=login))
    )
    assert serious(findings) == []
    assert tried(findings) > 80
    assert ORDER in holes(
        findings_of(isolated_orders, experiment, application=Target(make_conninfo(isolated_orders.dsn, user=mighty)))
    )


def test_a_connection_that_is_not_the_applications(
    isolated_orders: Database, new_database: Callable[..., Database], role: Callable[..., str]
) -> None:
    stranger, elsewhere = role("LOGIN", name="stranger"), new_database()
    with pytest.raises(UsageError, match="does not have the privileges of apart_app"):
        findings_of(isolated_orders, experiment, application=Target(make_conninfo(isolated_orders.dsn, user=stranger)))
    with pytest.raises(UsageError, match="another database"):
        findings_of(isolated_orders, experiment, application=Target(elsewhere.dsn))


def test_an_operator_who_made_the_role(database: Database, role: Callable[..., str]) -> None:
    """As on managed services: no superuser, filtered but for a policy, and since 16 not one to become the role."""
    owner, name = role("LOGIN CREATEROLE", name="owner"), role(create=False, name="app")
    dsn = make_conninfo(database.dsn, user=owner)
    database.execute(
        "CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE); INSERT INTO tenants VALUES (1, 'a'), (2, 'b');"
        "CREATE TABLE notes (id int PRIMARY KEY, owner int REFERENCES tenants); INSERT INTO notes VALUES (1, 1), (2, 2);"
        f"ALTER TABLE tenants OWNER TO {owner}; ALTER TABLE notes OWNER TO {owner};"
        f"GRANT CREATE ON DATABASE {database.name} TO {owner}; ALTER SCHEMA public OWNER TO {owner}"
    )
    spec = (
        f'[tenant]\ntable = "tenants"\n[application]\nrole = "{name}"\n[[table]]\nname = "notes"\npaths = [["owner"]]'
    )
    migrate(Target(dsn), Spec.parse(spec), MigrateOptions(until=Phase.ISOLATE))
    members = "SELECT roleid::regrole::text, member::regrole::text, admin_option FROM pg_auth_members ORDER BY 1, 2, 3"
    before = database.rows(members)
    findings = findings_of(database, isolation, experiment, spec=spec, dsn=dsn)
    assert serious(findings) == []
    assert tried(findings) > 20
    assert undecided(findings) == []
    database.execute("ALTER TABLE notes NO FORCE ROW LEVEL SECURITY; ALTER TABLE notes DISABLE ROW LEVEL SECURITY")
    assert set(holes(findings_of(database, experiment, spec=spec, dsn=dsn))) == {"public.notes"}
    assert database.rows(members) == before


def test_after_contract(isolated_orders: Database) -> None:
    migrate(Target(isolated_orders.dsn), Spec.parse(SPEC), MigrateOptions(until=Phase.CONTRACT, force=True))
    findings = findings_of(isolated_orders, isolation, experiment)
    assert serious(findings) == []
    assert undecided(findings) == []
    isolated_orders.execute("ALTER TABLE line DISABLE ROW LEVEL SECURITY")
    assert set(holes(findings_of(isolated_orders, experiment))) == {LINE}


def test_an_operator_who_may_not_be_the_application(isolated_orders: Database, role: Callable[..., str]) -> None:
    auditor = role("LOGIN BYPASSRLS", name="auditor")
    isolated_orders.execute(f"GRANT pg_read_all_data TO {auditor}")
    findings = findings_of(isolated_orders, experiment, dsn=make_conninfo(isolated_orders.dsn, user=auditor))
    assert serious(findings) == [("experiment-not-tried", "", None)]
    assert f"GRANT {ROLE} TO {auditor}" in findings[0].remedy


def test_nothing_is_tried_without_the_role(isolated_orders: Database) -> None:
    assert findings_of(isolated_orders, experiment, spec=SPEC.replace(ROLE, "nobody_at_all")) == []


def test_only_wanted_tables_are_tried(isolated_orders: Database) -> None:
    isolated_orders.execute(
        'ALTER TABLE "Order" DISABLE ROW LEVEL SECURITY; ALTER TABLE line DISABLE ROW LEVEL SECURITY'
    )
    with check_context(isolated_orders) as standing:
        line = frozenset(name for name in standing.live.tables if name.name == "line")
    assert set(holes(findings_of(isolated_orders, experiment, tables=line))) == {LINE}
