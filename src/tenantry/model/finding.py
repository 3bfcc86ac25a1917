"""What a check or a preflight found: one sentence, one remedy, samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tenantry.model.name import Name


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    `name` is the check's, in kebab-case. `refuses`: a run stops here, exit 4, unless `forcible` and --force is given.
    """

    name: str
    severity: Severity
    message: str
    remedy: str = ""
    table: Name | None = None
    count: int | None = None
    samples: tuple[Mapping[str, Any], ...] = ()
    refuses: bool = False
    forcible: bool = True
