"""Preflight names who is shut out by isolate, and what leads around the policies (hazards 10 and 13)."""

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import sql

from preflights import SHOP, check, named, names, refusals
from tenantry.model.finding import Finding
from tenantry.model.plan import Phase

pytestmark = [
    pytest.mark.server,
    pytest.mark.differs(
        "execution/preflight/rls_bypass.py", "execution/preflight/roles.py", "postgres/sql/preflight.sql"
    ),
]


def run(database: Any, text: str, *roles: str) -> None:
    """`text` with the roles in place of {0}, {1}, …"""
    database.execute(sql.SQL(text).format(*map(sql.Identifier, roles)).as_string(None))


def isolate(database: Any, role: str = "app_of_nobody", *legacy: str) -> list[Finding]:
    listed = ", ".join(f'"{name}"' for name in legacy)
    return check(database, until=Phase.ISOLATE, application=f'role = "{role}"\nlegacy_roles = [{listed}]')


# --- classes


def test_a_role_in_no_class_refuses(database: Any, role: Callable[..., str]) -> None:
    """It holds a privilege on an owned table; before isolate nobody asks."""
    clerk = role("LOGIN", name="clerk")
    database.execute(SHOP)
    run(database, "GRANT SELECT, INSERT ON orders TO {0}", clerk)
    found = isolate(database)
    assert refusals(found) == {("role-unclassified", True)}
    assert clerk in found[0].message
    assert found[0].samples == ({"relation": "public.orders", "privileges": ["INSERT", "SELECT"]},)
    assert refusals(check(database, until=Phase.ENFORCE)) == set()


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT UPDATE (total) ON orders TO {0}",
        "CREATE VIEW totals AS SELECT total FROM orders; CREATE VIEW sums AS SELECT * FROM totals;"
        " GRANT SELECT ON sums TO {0}",
        "GRANT SELECT ON tenants TO {0}",
        "GRANT pg_read_all_data TO {0}",
    ],
)
def test_privileges_on_columns_views_and_all_data_count(database: Any, role: Callable[..., str], grant: str) -> None:
    """Whoever can read an owned row today is asked for."""
    clerk = role("LOGIN", name="clerk")
    database.execute(SHOP)
    run(database, grant, clerk)
    found = isolate(database)
    assert refusals(found) == {("role-unclassified", True)}
    assert clerk in found[0].message


def test_privileges_on_shared_tables_do_not_count(database: Any, role: Callable[..., str]) -> None:
    """All tenants see those."""
    clerk = role("LOGIN", name="clerk")
    database.execute(SHOP)
    run(database, "GRANT SELECT ON log TO {0}", clerk)
    assert names(isolate(database)) == set()


def test_public_is_in_no_class(database: Any) -> None:
    """Its privileges are everybody's."""
    database.execute(SHOP + "GRANT SELECT ON orders TO PUBLIC")
    (found,) = named(isolate(database), "role-unclassified")
    assert found.message.startswith("PUBLIC")
    assert "FROM PUBLIC" in found.remedy


def test_every_class_lets_a_role_pass(database: Any, role: Callable[..., str]) -> None:
    """Application, legacy, operator, their members, and who bypasses row security."""
    application, legacy, owner = role("NOLOGIN", name="app"), role(name="legacy"), role(name="owner")
    members = [role(name=f"member_{number}") for number in range(3)]
    auditor = role("LOGIN BYPASSRLS", name="auditor")
    everyone = [application, legacy, owner, *members, auditor]
    database.execute(SHOP)
    for table in ("tenants", "shops", "orders", "archive", "log"):
        run(database, f"ALTER TABLE {table} OWNER TO {{0}}", owner)
    for above, member in zip((application, legacy, owner), members, strict=True):
        run(database, "GRANT {0} TO {1}", above, member)
    for one in everyone:
        run(database, "GRANT SELECT ON orders TO {0}", one)
    assert refusals(isolate(database, application, legacy)) == set()
    assert len(named(isolate(database, application), "role-unclassified")) == 2


def test_a_member_that_does_not_inherit_is_in_no_class(database: Any, role: Callable[..., str]) -> None:
    """Policies are for those who have the privileges of their role."""
    application, member = role("NOLOGIN", name="app"), role("LOGIN NOINHERIT", name="member")
    database.execute(SHOP)
    run(database, "GRANT {0} TO {1}; GRANT SELECT ON orders TO {1}", application, member)
    assert refusals(isolate(database, application)) == {("role-unclassified", True)}


def test_a_legacy_role_must_be_there(database: Any) -> None:
    """A name with a mistake would shut its role out."""
    database.execute(SHOP)
    found = isolate(database, "app_of_nobody", "clerk_of_nobody")
    assert refusals(found) == {("legacy-role-missing", False)}


# --- sessions


def test_connected_roles_are_counted(database: Any, role: Callable[..., str]) -> None:
    """Those whom isolate would shut out: by role, with their applications."""
    clerk, member, stranger = role(name="clerk"), role(name="member"), role(name="stranger")
    database.execute(SHOP)
    run(database, "GRANT SELECT ON orders TO {0}; GRANT {0} TO {1}", clerk, member)
    with (
        database.connect(user=clerk, application_name="till"),
        database.connect(user=clerk, application_name="till"),
        database.connect(user=member),
        database.connect(user=stranger),
    ):
        found = named(isolate(database), "role-connected")
        assert [(finding.count, finding.refuses, finding.forcible) for finding in found] == [
            (2, True, True),
            (1, True, True),
        ]
        assert "2 sessions (till)" in found[0].message
        assert not named(isolate(database, "app_of_nobody", clerk), "role-connected")


def test_applications_that_connect_as_an_operator_are_warned_of(database: Any) -> None:
    """No policy holds them; sessions of a run are not counted."""
    database.execute(SHOP)
    with database.connect(application_name="till"):
        (found,) = named(isolate(database), "operator-connected")
        assert "till" in found.message
        assert not found.refuses
    with database.connect(application_name="tenantry 1 fill"):
        assert names(isolate(database)) == set()


# --- the application role


@pytest.mark.parametrize("options", ["SUPERUSER", "BYPASSRLS"])
def test_an_application_role_that_no_policy_holds_refuses(
    database: Any, role: Callable[..., str], options: str
) -> None:
    """It could read every tenant's rows, whatever is forced."""
    application = role(options, name="app")
    database.execute(SHOP)
    assert refusals(isolate(database, application)) == {("application-role-unsafe", False)}


@pytest.mark.parametrize(
    ("grant", "reason"),
    [
        ("ALTER TABLE orders OWNER TO {0}", "owns public.orders"),
        ("GRANT {1} TO {0}; ALTER TABLE orders OWNER TO {1}", "is a member of owner"),
        ("GRANT {2} TO {0}", "is a member of auditor"),
    ],
)
def test_an_application_role_with_an_owners_power_refuses(
    database: Any, role: Callable[..., str], grant: str, reason: str
) -> None:
    """The reason is named."""
    application, owner, auditor = role(name="app"), role(name="owner"), role("BYPASSRLS", name="auditor")
    database.execute(SHOP)
    run(database, grant, application, owner, auditor)
    (found,) = named(isolate(database, application), "application-role-unsafe")
    assert reason in found.message
    assert (found.refuses, found.forcible) == (True, False)


def test_an_application_role_that_may_create_roles(database: Any, role: Callable[..., str]) -> None:
    """Before 16 it could join the owner."""
    application = role("CREATEROLE", name="app")
    database.execute(SHOP)
    expected = {("application-role-unsafe", False)} if database.server.major < 16 else set()
    assert refusals(isolate(database, application)) == expected


def test_a_plain_application_role_is_fine(database: Any, role: Callable[..., str]) -> None:
    """With its login member connected."""
    application, login = role("NOLOGIN", name="app"), role("LOGIN", name="login")
    database.execute(SHOP)
    run(database, "GRANT SELECT ON orders TO {0}; GRANT {0} TO {1}", application, login)
    with database.connect(user=login):
        assert names(isolate(database, application)) == set()


# --- around the policies


def test_a_materialised_view_shows_all_tenants(database: Any, role: Callable[..., str]) -> None:
    """To whom it is granted; its owner sees all rows anyhow."""
    legacy = role(name="legacy")
    database.execute(SHOP + "CREATE MATERIALIZED VIEW sums AS SELECT shop FROM orders")
    assert names(isolate(database)) == set()
    run(database, "GRANT SELECT ON sums TO {0}", legacy)
    (found,) = named(isolate(database, "app_of_nobody", legacy), "materialized-view-granted")
    assert legacy in found.message
    assert not found.refuses


def test_what_everybody_may_read_past_the_policies_refuses(database: Any) -> None:
    """The application is one of them."""
    database.execute(SHOP + "CREATE MATERIALIZED VIEW sums AS SELECT shop FROM orders; GRANT SELECT ON sums TO PUBLIC")
    (found,) = named(isolate(database, "app_of_nobody"), "materialized-view-granted")
    assert found.refuses
    assert found.forcible


def test_a_view_reads_as_its_owner_before_15(database: Any, role: Callable[..., str]) -> None:
    """From 15 on it is made to read as whoever asks."""
    legacy = role(name="legacy")
    database.execute(SHOP + "CREATE VIEW sums AS SELECT shop FROM orders")
    run(database, "GRANT SELECT ON sums TO {0}", legacy)
    expected = {"view-reads-as-owner"} if database.server.major < 15 else set()
    assert names(isolate(database, "app_of_nobody", legacy)) == expected


def test_a_security_definer_function_of_the_owner_sees_all_tenants(database: Any) -> None:
    """Each that reads an owned table; one that does not, or runs as its caller, is not found."""
    database.execute(
        SHOP
        + """
        CREATE FUNCTION all_orders() RETURNS bigint LANGUAGE sql SECURITY DEFINER
            AS 'SELECT count(*) FROM orders';
        CREATE FUNCTION own_orders() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM orders';
        CREATE FUNCTION log_size() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM log';
        """
    )
    (found,) = named(isolate(database), "security-definer-function")
    assert "all_orders()" in found.message
    assert not named(check(database), "security-definer-function")


@pytest.mark.parametrize("timing", ["", "DEFERRABLE INITIALLY DEFERRED"])
def test_a_key_that_waits_for_commit_before_15(database: Any, timing: str) -> None:
    """Beside a key that sets its column to NULL; later versions set one column of two."""
    database.execute(
        SHOP + "ALTER TABLE orders ALTER shop DROP NOT NULL, DROP CONSTRAINT orders_shop_fkey,"
        f" ADD FOREIGN KEY (shop) REFERENCES shops ON DELETE SET NULL {timing}"
    )
    expected = {"key-checked-at-commit"} if database.server.major < 15 else set()
    assert names(check(database, until=Phase.CONTRACT)) == expected
    assert names(check(database, until=Phase.EXPAND)) == set()


@pytest.mark.pg("!= 16")  # whose wheel has no pg_stat_statements
def test_roles_that_copy_are_named(database: Any, role: Callable[..., str]) -> None:
    """COPY FROM and pg_dump end with row security, but for those who bypass it."""
    legacy = role(name="legacy")
    database.execute(SHOP)
    database.track_statements()
    run(database, "GRANT ALL ON orders TO {0}", legacy)
    for parameters in ({"user": legacy}, {}):
        with database.connect(**parameters) as connection, connection.cursor() as cursor:
            with cursor.copy("COPY orders (id, shop) FROM STDIN"):
                pass
            with cursor.copy("COPY public.orders (id, shop) TO stdout") as copy:
                list(copy)
    found = isolate(database, "app_of_nobody", legacy)
    assert names(found) == {"copy-from-role", "dump-role"}
    assert all(legacy in finding.message for finding in found)


def test_a_running_pg_dump_is_seen(database: Any, role: Callable[..., str]) -> None:
    """By its application name."""
    legacy = role(name="legacy")
    database.execute(SHOP)
    with database.connect(user=legacy, application_name="pg_dump"):
        assert names(isolate(database, "app_of_nobody", legacy)) == {"dump-role"}
