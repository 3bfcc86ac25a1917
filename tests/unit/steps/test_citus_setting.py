"""The setting by which Citus passes the tenant on."""

from __future__ import annotations

from tenantry.model.plan import Phase
from tenantry.steps.citus_setting import PropagateTenant
from unit.steps.examples import TENANTS, texts


def test_the_roles_that_log_in() -> None:
    """Settings are not inherited: those that are members of the application role get it as well."""
    step = PropagateTenant(phase=Phase.DISTRIBUTE, table=TENANTS, role="app")
    (apply,) = texts(step.apply())
    assert "ALTER ROLE %I IN DATABASE %I SET citus.propagate_set_commands = ''local''" in apply
    assert "pg_auth_members" in apply
    assert "'app'" in apply
    assert "connect again" in step.note


def test_the_way_back() -> None:
    """What a role had before comes back."""
    step = PropagateTenant(phase=Phase.DISTRIBUTE, table=TENANTS, role="app")
    (back,) = texts(step.revert({"values": {"app": None, "o'hara": "none"}}))
    assert "RESET citus.propagate_set_commands" in back
    assert """'{"app": null, "o''hara": "none"}'::pg_catalog.jsonb""" in back
