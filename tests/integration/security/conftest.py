"""A depot of three tenants, isolated and not yet contracted; and a den, for single statements."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from security import den as dens
from security.den import Den
from security.depot import Depot, build
from servers import Database


@pytest.fixture
def depot(template: Callable[..., Database]) -> Depot:
    return Depot(database=template("depot", build))


@pytest.fixture
def den(template: Callable[..., Database]) -> Den:
    return Den(database=template("den", dens.build))
