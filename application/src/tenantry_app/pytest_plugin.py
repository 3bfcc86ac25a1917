"""A pytest plugin: tests as a tenant, as the operator, and of isolation.

    # pyproject.toml
    [tool.pytest.ini_options]
    tenantry_dsn = "…"                # the application's; or the environment's TENANTRY_DSN
    tenantry_operator_dsn = "…"       # or TENANTRY_OPERATOR_DSN

    def test_orders(as_tenant, client, operator):
        as_tenant("acme")
        assert client.get("/orders/1").status_code == 200

The first use of `as_tenant` or `assert_isolated` makes sure that the application's role cannot pass the policies, and
that each table with the tenant column has some: without row security every test that uses them fails, instead of none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import psycopg

    from tenantry_app.tenants import Name, Tenant


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plugin's options."""
    parser.addini("tenantry_dsn", "the DSN of the application's role", default="")
    parser.addini("tenantry_operator_dsn", "the DSN of the operator", default="")
    parser.addini("tenantry_column", "the tenant column", default="tenant_id")


def _dsn(config: pytest.Config, option: str) -> str:
    found = os.environ.get(option.upper()) or config.getini(option)
    if not found:
        raise pytest.UsageError(f"{option} is not set: in pytest's configuration, or as {option.upper()}")
    return str(found)


@pytest.fixture(scope="session")
def tenantry_isolation(request: pytest.FixtureRequest) -> None:
    """Fails if the application's role can bypass the policies, or if a table with the tenant column has none."""
    import psycopg

    from tenantry_app.errors import RoleRefused
    from tenantry_app.roles import check, unsecured

    with psycopg.connect(_dsn(request.config, "tenantry_dsn"), autocommit=True) as connection:
        try:
            check(connection)
        except RoleRefused as refused:
            pytest.fail(str(refused), pytrace=False)
        tables = unsecured(connection, request.config.getini("tenantry_column"))
    if tables:
        pytest.fail(
            f"row-level security is not enabled and forced, with a policy, on {', '.join(tables)}", pytrace=False
        )


@pytest.fixture
def as_tenant(tenantry_isolation: None) -> Iterator[Callable[[Name], Tenant]]:
    """`as_tenant("acme")` makes the rest of the test that tenant's, until it is called for another one."""
    from tenantry_app.context import tenant

    with ExitStack() as stack:

        def enter(name: Name) -> Tenant:
            stack.close()
            return stack.enter_context(tenant(name))

        yield enter


@pytest.fixture
def operator(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the operator, who sees all tenants' rows; what the test has not committed is rolled back."""
    import psycopg

    with psycopg.connect(_dsn(request.config, "tenantry_operator_dsn")) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def assert_isolated(tenantry_isolation: None) -> Callable[..., None]:
    """`assert_isolated("/orders/1", own=client, other=another)`: the URL exists for one client, and not for the other.

    The clients have `get(url)`, whose response has `status_code`: those of Django, Starlette, httpx, requests. The
    answer to the other one must be 403 or 404.
    """

    def compare(url: str, *, own: Any, other: Any) -> None:
        answer, refusal = own.get(url).status_code, other.get(url).status_code
        assert 200 <= answer < 300, f"{url} answers its own tenant by {answer}"
        assert refusal in (403, 404), f"{url} answers another tenant by {refusal}"

    return compare
