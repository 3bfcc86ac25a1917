"""The result of a check or a preflight: one sentence, one remedy, samples."""

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
    """The spec accepts it, with a reason."""

    @property
    def serious(self) -> bool:
        """Whether it requires action."""
        return self in (Severity.ERROR, Severity.WARNING)


class Family(StrEnum):
    """The subject of a check, in the order in which families are shown."""

    STRUCTURE = "structure"
    COMPLETENESS = "completeness"
    REFERENCES = "references"
    ISOLATION = "isolation"
    PERFORMANCE = "performance"
    BUSINESS = "business"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem that was found.

    `name` is the check's, in kebab-case; one of a preflight has no family. `count` is exact, and `samples` are some of
    the rows that it counts. `tenants` is how many of them each tenant has, if those were counted. `refuses`: a run
    stops here with exit status 4, unless the finding is `forcible` and --force is given. `always`: it is shown without
    --verbose, although it is only information.
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
