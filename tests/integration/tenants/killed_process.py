"""The process of test_kill: removes or imports a tenant, and dies before a statement."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from killed import aim, serve
from tenantry import RemoveOptions, import_tenant, remove_tenant
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target


def perform(order: dict[str, Any]) -> str:
    aim(order["number"])
    target, spec, folder = Target(order["dsn"]), Spec.parse(order["spec"]), Path(order["folder"])
    if order["command"] == "import":
        return str(import_tenant(target, spec, folder).rows)
    return str(remove_tenant(target, spec, order["slug"], RemoveOptions(folder=folder)).rows)


if __name__ == "__main__":
    serve(perform)
