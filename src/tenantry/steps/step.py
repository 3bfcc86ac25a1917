"""What every step is: a value that says what it does, how it is undone, and how it is recognised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.plan import Phase, Statement

Before = Mapping[str, Any]
"""What `record` found before the step was applied, as JSON; empty for steps that record nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(ABC):
    """One change to one table. Its subclasses are plain data, so that the journal can hold them."""

    phase: Phase
    table: Name

    kept: ClassVar[bool] = False
    """True where `rollback --preserve-data` leaves it."""
    journaled: ClassVar[bool] = False
    """True where the catalog alone cannot tell: in force only if the journal says so, too."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Names the step among all steps of a database, for ever."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What it does, for people."""

    @property
    def note(self) -> str:
        """What changes for the user's application, if anything."""
        return ""

    @property
    def remedy(self) -> str:
        """What a person can do where the database refuses it; empty where there is nothing special to say."""
        return ""

    @property
    def ends(self) -> tuple[str, ...]:
        """Keys of the earlier steps whose work this one takes away: once it is in force, they count as done."""
        return ()

    @abstractmethod
    def definition(self) -> sql.Composable:
        """A query whose single text says what is in force; no row, or NULL, where the step is not."""

    def revises(self, earlier: Step) -> bool:
        """Whether it is to be applied again, over the `earlier` one of the same key that is in force, because the spec
        has changed since."""
        return False

    def contradicts(self, earlier: Step) -> bool:
        """Whether the `earlier` one of the same key has to go back before this one can be applied."""
        return False

    @abstractmethod
    def apply(self) -> tuple[Statement, ...]:
        """The statements that put it in force."""

    @abstractmethod
    def revert(self, before: Before) -> tuple[Statement, ...]:
        """The statements that take it away, given what `record` found; they may run twice."""

    def keep(self, before: Before) -> tuple[Statement, ...]:
        """What `rollback --preserve-data` does to a kept step."""
        return ()

    def record(self) -> sql.Composable | None:
        """A query of one JSON value, run before `apply` in the same transaction."""
        return None
