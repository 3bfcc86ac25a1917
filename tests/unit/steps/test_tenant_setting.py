"""The tenant that a session names: the same text in policies, defaults and triggers."""

from __future__ import annotations

from tenantry.steps.tenant_setting import current_tenant, current_tenant_value


def test_the_setting() -> None:
    """An empty one is none; a policy asks once a statement, and not once a row."""
    value = current_tenant_value("app.it's", "uuid").as_string(None)
    assert value == "NULLIF(pg_catalog.current_setting('app.it''s', true), '')::uuid"
    assert current_tenant("app.it's", "uuid").as_string(None) == f"(SELECT {value})"
