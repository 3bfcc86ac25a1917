"""The process of test_kill: moves a tenant or ends its move, and dies before a statement."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from killed import aim, serve
from tenantry import abort_move, move_tenant
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target


def perform(order: dict[str, Any]) -> str:
    aim(order["number"])
    spec = Spec.parse(order["spec"])
    what = abort_move if order["abort"] else move_tenant
    return str(what(Target(order["source"]), spec, order["slug"], Target(order["target"])).rows)


if __name__ == "__main__":
    serve(perform)
