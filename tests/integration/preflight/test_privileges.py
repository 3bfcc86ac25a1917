"""Preflight names the privileges that a run lacks; with all of them it finds nothing."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from preflights import SHOP, TABLES, check, named, planned, refusals
from tenantry.model.finding import Finding
from tenantry.model.plan import Phase

pytestmark = [pytest.mark.server, pytest.mark.differs("execution/preflight/privileges.py")]


def privileges(findings: list[Finding]) -> set[str]:
    found = [finding for finding in findings if finding.name.startswith("privilege-")]
    assert all(finding.refuses and not finding.forcible for finding in found)
    return {finding.name for finding in found}


def run(database: Any, text: str, *roles: str) -> None:
    database.execute(sql.SQL(text).format(*map(sql.Identifier, (*roles, database.name))).as_string(None))


def give(database: Any, owner: str) -> None:
    """All tables to `owner`, which may then do what a run does."""
    for table in ("tenants", "shops", "orders", "archive", "log"):
        run(database, f"ALTER TABLE {table} OWNER TO {{}}", owner)
    run(
        database,
        "GRANT CREATE, USAGE ON SCHEMA public TO {0} WITH GRANT OPTION; GRANT CREATE ON DATABASE {1} TO {0}",
        owner,
    )


def test_the_owner_of_all_tables_may_run(database: Any, role: Callable[..., str]) -> None:
    """With CREATEROLE to isolate as well."""
    owner = role("LOGIN CREATEROLE", name="owner")
    database.execute(SHOP)
    give(database, owner)
    assert privileges(check(database, user=owner, until=Phase.ISOLATE)) == set()


def test_a_stranger_lacks_everything(database: Any, role: Callable[..., str]) -> None:
    """Tables of another, the schema, the journal and the application role, each named."""
    user = role("LOGIN", name="stranger")
    database.execute(SHOP + "REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC")
    found = check(database, user=user, until=Phase.ISOLATE, application='role = "app_of_nobody"')
    assert privileges(found) == {
        "privilege-owner",
        "privilege-create",
        "privilege-usage",
        "privilege-journal",
        "privilege-create-role",
    }
    (owner,) = named(found, "privilege-owner")
    assert "public.orders" in owner.message
    assert f"GRANT postgres TO {user}" in owner.remedy


def test_to_enforce_no_application_role_is_made(database: Any, role: Callable[..., str]) -> None:
    """So CREATEROLE is not asked for, nor where the role is there already."""
    owner, application = role("LOGIN", name="owner"), role("NOLOGIN", name="app")
    database.execute(SHOP)
    give(database, owner)
    assert privileges(check(database, user=owner)) == set()
    missing = check(database, user=owner, until=Phase.ISOLATE, application='role = "app_of_nobody"')
    assert privileges(missing) == {"privilege-create-role"}
    there = check(database, user=owner, until=Phase.ISOLATE, application=f'role = "{application}"')
    assert privileges(there) == set()


def test_a_member_with_the_owners_privileges_may_run(database: Any, role: Callable[..., str]) -> None:
    """A member that does not inherit them may not."""
    owner, member, idle = role("NOLOGIN", name="owner"), role("LOGIN"), role("LOGIN NOINHERIT")
    database.execute(SHOP)
    give(database, owner)
    run(database, "GRANT {0} TO {1}, {2}", owner, member, idle)
    assert privileges(check(database, user=member)) == set()
    assert "privilege-owner" in privileges(check(database, user=idle))


@pytest.mark.pg(">= 16")
def test_a_member_that_may_not_act_as_the_owner_may_not_run(database: Any, role: Callable[..., str]) -> None:
    """Functions could not be given to the owner."""
    owner, member = role("NOLOGIN", name="owner"), role("LOGIN")
    database.execute(SHOP)
    give(database, owner)
    run(database, "GRANT {0} TO {1} WITH SET FALSE", owner, member)
    assert privileges(check(database, user=member)) == {"privilege-owner"}


def test_indexes_need_create_on_the_schema(database: Any, role: Callable[..., str]) -> None:
    """Owning the table is not enough."""
    owner = role("LOGIN", name="owner")
    database.execute(SHOP)
    give(database, owner)
    run(database, "REVOKE CREATE ON SCHEMA public FROM {0}, PUBLIC", owner)
    assert privileges(check(database, user=owner)) == {"privilege-create"}
    with (
        database.connect(user=owner) as connection,
        pytest.raises(Exception, match="permission denied for schema"),
    ):
        connection.execute("CREATE INDEX ON orders (total)")
    assert privileges(check(database, user=owner, until=Phase.EXPAND)) == set()


def test_the_application_role_needs_the_schema(database: Any, role: Callable[..., str]) -> None:
    """Who may not grant its use cannot open it, unless it is open already."""
    owner, application = role("LOGIN", name="owner"), role("NOLOGIN", name="app")
    database.execute(SHOP)
    give(database, owner)
    run(database, "REVOKE GRANT OPTION FOR USAGE ON SCHEMA public FROM {0}", owner)
    run(database, "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    spec = {"until": Phase.ISOLATE, "application": f'role = "{application}"'}
    assert privileges(check(database, user=owner, **spec)) == {"privilege-usage"}
    run(database, "GRANT USAGE ON SCHEMA public TO {0}", application)
    assert privileges(check(database, user=owner, **spec)) == set()


def test_triggers_reach_what_they_need_as_the_owner(database: Any, role: Callable[..., str]) -> None:
    """A table's owner that may not use its schema, or not look at the parent: a trigger would fail in the middle of the
    run, whoever runs it. The remedies, carried out, let it go through."""
    owner = role("NOLOGIN", name="owner")
    database.execute(SHOP + "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    run(database, "ALTER TABLE orders OWNER TO {0}", owner)
    found = named(check(database), "owner-lacks-privilege")
    assert [finding.remedy for finding in found] == [
        f"GRANT USAGE ON SCHEMA public TO {owner}.",
        f"GRANT SELECT ON public.shops TO {owner}.",
        f"GRANT UPDATE ON public.shops TO {owner}.",
    ]
    assert refusals(found) == {("owner-lacks-privilege", False)}
    with database.connect() as connection:
        expand(connection)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema public"):
            connection.execute("INSERT INTO public.orders VALUES (101, 1)")
        connection.rollback()
    for finding in found:
        database.execute(finding.remedy.removesuffix("."))
    assert not named(check(database), "owner-lacks-privilege")
    with database.connect() as connection:
        expand(connection)
        connection.execute("INSERT INTO public.orders VALUES (101, 1)")


def expand(connection: psycopg.Connection[Any]) -> None:
    """Columns and triggers, as a run makes them."""
    connection.execute("SET search_path = pg_catalog; CREATE SCHEMA tenantry")
    for step in planned(connection, TABLES)[1].until(Phase.EXPAND):
        for statement in step.apply():
            if statement.when is None or connection.execute(statement.when).fetchone() == (True,):
                connection.execute(statement.sql)


def test_the_journal_needs_its_schema(database: Any, role: Callable[..., str]) -> None:
    """To be made, or to be written to."""
    owner = role("LOGIN", name="owner")
    database.execute(SHOP)
    give(database, owner)
    run(database, "REVOKE CREATE ON DATABASE {1} FROM {0}", owner)
    assert privileges(check(database, user=owner)) == {"privilege-journal"}
    run(database, "CREATE SCHEMA tenantry")
    assert privileges(check(database, user=owner)) == {"privilege-journal"}
    run(database, "ALTER SCHEMA tenantry OWNER TO {0}", owner)
    assert privileges(check(database, user=owner)) == set()


def test_the_schema_of_a_tenant_table_to_be_made_must_be_there(database: Any) -> None:
    """Even for a superuser."""
    database.execute(SHOP.replace("REFERENCES tenants", ""))
    assigned = TABLES.replace('paths = [["owner"]]', 'assign = { tenant = "north" }')
    assigned += '[[table]]\nname = "tenants"\nshared = true\n'
    elsewhere = {"tables": assigned, "tenant": 'table = "other.tenants"\ncreate = true'}
    assert refusals(check(database, **elsewhere)) == {("schema-missing", False)}
    database.execute("CREATE SCHEMA other")
    assert refusals(check(database, **elsewhere)) == set()


def test_what_was_taken_from_public(database: Any, role: Callable[..., str]) -> None:
    """The language of our functions, and the types of the columns, of which an array is one too."""
    owner = role("LOGIN", name="owner")
    database.execute(
        SHOP + "CREATE DOMAIN code AS text; CREATE TYPE state AS ENUM ('new');"
        " ALTER TABLE orders ADD code code, ADD states state[]; CREATE TABLE other (code code);"
        " REVOKE USAGE ON TYPE code FROM PUBLIC; REVOKE USAGE ON TYPE state FROM PUBLIC"
    )
    give(database, owner)
    assert sorted(finding.remedy for finding in named(check(database, user=owner), "privilege-type")) == [
        f"GRANT USAGE ON TYPE public.code TO {owner}.",
        f"GRANT USAGE ON TYPE public.state TO {owner}.",
    ]
    database.execute("REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC")
    found = check(database, user=owner)
    assert privileges(found) == {"privilege-type", "privilege-language"}
    for finding in found:
        if finding.name in ("privilege-type", "privilege-language"):
            database.execute(finding.remedy.removesuffix("."))
    assert privileges(check(database, user=owner)) == set()


def test_the_owner_of_a_new_tenant_table_may_make_it(database: Any, role: Callable[..., str]) -> None:
    """Our role may, and gives it to the owner of the tables, who has to be able to, too."""
    owner, member = role("NOLOGIN", name="owner"), role("LOGIN", name="member")
    database.execute("CREATE TABLE log (at timestamptz); REVOKE ALL ON SCHEMA public FROM PUBLIC")
    run(
        database,
        "ALTER TABLE log OWNER TO {0}; GRANT USAGE ON SCHEMA public TO {0}; GRANT {0} TO {1};"
        " GRANT USAGE, CREATE ON SCHEMA public TO {1}; GRANT CREATE ON DATABASE {2} TO {1}",
        owner,
        member,
    )
    made = {
        "tenant": 'table = "tenants"\ncreate = true',
        "tables": '[[table]]\nname = "log"\nassign = { tenant = "x" }',
    }
    (found,) = named(check(database, user=member, **made), "privilege-owner-create")
    assert found.remedy == f"GRANT CREATE ON SCHEMA public TO {owner}."
    database.execute(found.remedy.removesuffix("."))
    assert privileges(check(database, user=member, **made)) == set()
