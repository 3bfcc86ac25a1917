"""What every step is: a value that says what it does, how it is undone, and how it is recognised."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.plan import Phase, Statement

Category = Literal["constraint", "index", "row security"]
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
    planned: ClassVar[bool] = True
    """False where another command than migrate applies it, and takes it away."""
    compared: ClassVar[bool] = False
    """True where its definition stays what it was once it is in force, so that another one is somebody's doing."""
    in_place: ClassVar[bool] = False
    """True where applying it leaves nothing of an earlier one of the same key, which need not go back first."""
    carries: ClassVar[bool] = False
    """True where others of ours stand on what it makes, or are shut in by it: where the plan has it no more, it goes
    after all others."""
    of_table: ClassVar[bool] = True
    """False where it serves all tables, whichever one it names."""
    of_role: ClassVar[bool] = False
    """True where it says what a role may do, which is for others to change as well."""
    category: ClassVar[Category | None] = None
    """Under what `status` counts it."""
    holds: ClassVar[bool] = False
    """True where rows have their values in what it makes: it cannot be made otherwise without losing them."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Names the step among all steps of a database, for ever."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What it does, for people."""

    @property
    def subject(self) -> str:
        """What it makes, by the name under which a person finds it in the database: the subject of a sentence."""
        return f"On {self.table}: {self.title}"

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

    @property
    def built(self) -> tuple[Name, str | None] | None:
        """What it has made that somebody could build upon: a relation or index, or a column of it."""
        return None

    @property
    def trigger_function(self) -> Name | None:
        """The trigger function of ours in whose text, which follows no rename, it names tables."""
        return None

    @property
    def filled(self) -> tuple[Name, ...]:
        """The relations whose rows it gives their tenants."""
        return ()

    @property
    def shields(self) -> tuple[Name, ...]:
        """The relations in which it keeps a fill from changing more than the tenant."""
        return ()

    @property
    def supersedes(self) -> bool:
        """Whether it has made all that is still wanted of what it `ends`, which need never be done again."""
        return False

    @abstractmethod
    def definition(self) -> sql.Composable:
        """A query whose single text says what is in force; no row, or NULL, where the step is not."""

    def wants(self) -> str:
        """All that it wants of the database, as one text: where the texts of two steps of one key differ, the spec has
        changed. Partitions come and go without a change of what is wanted of the whole: `tree` is no part of it."""
        whole = replace(self, tree=()) if hasattr(self, "tree") else self  # type: ignore[call-arg]
        return ";\n".join(statement.text for statement in whole.apply())

    @property
    def wanted(self) -> str:
        """A digest of what it wants, which the journal keeps."""
        return _digest(self)

    def values(self) -> sql.Composable | None:
        """A query of the number of rows that have a value in what it makes, or have one from it that nothing tells from
        others; None where there are none to count."""
        return None

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


@lru_cache(maxsize=1 << 16)
def _digest(step: Step) -> str:
    """Kept, for a large schema has many steps, and each is compared more than once."""
    return hashlib.sha256(step.wants().encode()).hexdigest()
