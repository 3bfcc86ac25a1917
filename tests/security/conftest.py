"""A depot of three tenants, isolated and not yet contracted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from security.depot import Depot, build
from servers import Database


@pytest.fixture
def depot(template: Callable[..., Database]) -> Depot:
    return Depot(database=template("depot", build))
