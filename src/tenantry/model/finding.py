"""What a check or a preflight found: one sentence, one remedy, samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tenantry.model.name import Name


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    ACCEPTED = "accepted"
    """The spec says that it was looked at and stays."""

    @property
    def serious(self) -> bool:
        """Whether something should be done."""
        return self in (Severity.ERROR, Severity.WARNING)


class Family(StrEnum):
    """What a check is about, in the order in which families are shown."""

    STRUCTURE = "structure"
    COMPLETENESS = "completeness"
    REFERENCES = "references"
    ISOLATION = "isolation"
    PERFORMANCE = "performance"
    BUSINESS = "business"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    `name` is the check's, in kebab-case; a preflight's has no family. `count` is exact, and `samples` are some of the
    rows that it counts. `tenants` says how many of them each tenant has, where that was asked for. `refuses`: a run
    stops here, exit 4, unless `forcible` and --force is given. `always`: people see it without --verbose, though it is
    mere information.
    """

    name: str
    severity: Severity
    message: str
    remedy: str = ""
    family: Family | None = None
    table: Name | None = None
    count: int | None = None
    samples: tuple[Mapping[str, Any], ...] = ()
    tenants: Mapping[str, int] = field(default_factory=dict)
    refuses: bool = False
    forcible: bool = True
    always: bool = False
