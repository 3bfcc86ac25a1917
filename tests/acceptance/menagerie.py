"""Parts of the specs of odd databases."""

from __future__ import annotations

from tenantry.model.spec import Spec

HEAD = '[tenant]\ntable = "{tenant}"\n{more}\n[application]\nrole = "{role}"\n'


def spec(role: str, tables: str, tenant: str = "tenants", more: str = "", schemas: str = '["public"]') -> Spec:
    return Spec.parse(f"schemas = {schemas}\n" + HEAD.format(tenant=tenant, role=role, more=more) + tables)


def table(name: str, **keys: str) -> str:
    return f"[[table]]\nname = '{name}'\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
