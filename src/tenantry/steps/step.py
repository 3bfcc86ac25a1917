"""What every step is: a value that says what it does, how it is undone, and how it is recognised."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from psycopg import sql

from tenantry.model.ledger import Ledger
from tenantry.model.name import Name
from tenantry.model.plan import Phase, Statement
from tenantry.model.schema import Grant, Table
from tenantry.steps.derivation import Source, TenantReference

if TYPE_CHECKING:
    from tenantry.steps.assignment import Adoption
    from tenantry.steps.cascade_trigger import Follower
    from tenantry.steps.fill import Backfill
    from tenantry.steps.naming import Written
    from tenantry.steps.row_security import RowSecurity
    from tenantry.steps.tenants import TenantRow

Category = Literal["constraint", "index", "row security"]
Need = Literal["CREATE in the schema", "to grant USAGE of the schema", "CREATEROLE"]
Reach = tuple[str, Name, str]
"""A role, a table, and the privilege that the role needs there; an empty one where the table's name is enough."""
Before = Mapping[str, Any]
"""The JSON object that `record` selected before the step was applied; empty for steps that record nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The user's foreign key beside which one of ours stands: its columns and its parent; how ours is called, and
    whether it waits for COMMIT."""

    columns: tuple[str, ...]
    parent: Name
    constraint: str
    deferred: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(ABC):
    """One change to one table. Its subclasses are plain data, so that the journal can hold them."""

    phase: Phase
    table: Name

    kept: ClassVar[bool] = False
    """True where `rollback --preserve-data` leaves it."""
    journaled: ClassVar[bool] = False
    """True where the catalog alone cannot tell: in force only if the journal says so, too."""
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
    of_owned: ClassVar[bool] = False
    """True where only tables have it whose rows belong to tenants, or the tenant table."""
    refuses_null: ClassVar[bool] = False
    """True where no row of its table is without a tenant once it is in force."""
    proves: ClassVar[bool] = False
    """True where rows that are there already may be in its way."""
    noted_besides: ClassVar[bool] = False
    """True where the journal has more of it than its own row: how far a fill has come and what it has filled, or what a
    column is called."""
    needs: ClassVar[Need | None] = None
    """What making it takes of our role besides owning its table, and taking it away does not."""

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
    def below(self) -> tuple[Name, ...]:
        """The partitions and heirs of its table that it changes together with it."""
        tree: tuple[Name, ...] = getattr(self, "tree", ())
        return tree

    @property
    def built(self) -> tuple[Name, str | None] | None:
        """What it has made that somebody could build upon: a relation or index, or a column of it."""
        return None

    @property
    def trigger_function(self) -> Name | None:
        """The trigger function of ours in whose text, which follows no rename, it names tables."""
        return None

    @property
    def own_index(self) -> Name | None:
        """The index of ours that it is about, which goes with its table into another schema."""
        return None

    @property
    def indexed(self) -> tuple[str, ...] | None:
        """The columns behind the tenant of an index that it builds over a table's rows; None where it builds none."""
        return None

    @property
    def beside(self) -> Beside | None:
        """The user's foreign key beside which it puts one of ours."""
        return None

    @property
    def withdraws(self) -> tuple[str, ...]:
        """The privileges on its table that it takes from the application role."""
        return ()

    def moved_to(self, table: Name) -> Step:
        """The same on one of those `below` it, for itself."""
        return replace(self, table=table, tree=())  # type: ignore[call-arg]

    def renamed(self, names: Written) -> Step:
        """The same in other names of columns, but for what each step has of them: see renaming.with_columns."""
        return self

    # --- tenants

    @property
    def holds_to_tenants(self) -> tuple[str, sql.Composable] | None:
        """The column of its table in which it refuses what is no tenant's key, and a query of the number of rows that
        have such a value."""
        return None

    @property
    def tenant_table(self) -> Name | None:
        """The tenant table, where it makes it, or adds something to it or that refers to it."""
        return None

    @property
    def tenant_row(self) -> TenantRow | None:
        """Itself, where it adds a tenant, to which rows may come to belong."""
        return None

    @property
    def slugs(self) -> tuple[TenantReference, ...]:
        """The tenant tables in which it looks a tenant up by its slug while it is applied."""
        return ()

    @property
    def tenant_column(self) -> str | None:
        """The tenant column that it adds to its table."""
        return None

    @property
    def constant_key(self) -> sql.Composable | None:
        """The key of the one tenant that all rows of its table get."""
        return None

    @property
    def growing(self) -> tuple[Name, ...]:
        """The relations that get a column by it."""
        return ()

    @property
    def filling(self) -> Backfill | None:
        """Itself, where it is not applied statement by statement but in batches, beside the running load."""
        return None

    @property
    def filled(self) -> tuple[Name, ...]:
        """The relations whose rows it gives their tenants."""
        return ()

    @property
    def allotted(self) -> tuple[Name, ...]:
        """The relations whose rows have to find their tenants for it: those that it fills, or gives a column."""
        return self.filled

    @property
    def derives(self) -> tuple[tuple[Name, tuple[Source, ...]], ...]:
        """The relations whose rows get their tenants from it, and from where they have them."""
        return ()

    @property
    def adopts(self) -> tuple[Adoption, ...]:
        """The parents of its table that it gives the tenant of their children."""
        return ()

    def moves(self, changed: frozenset[str]) -> tuple[Follower, ...]:
        """The tables whose rows it changes along with a row of its own in which these columns change."""
        return ()

    @property
    def shields(self) -> tuple[Name, ...]:
        """The relations in which it keeps a fill from changing more than the tenant."""
        return ()

    # --- roles

    @property
    def application(self) -> str | None:
        """The application role that it prepares, or lets see its tenant's rows."""
        return None

    @property
    def gives(self) -> tuple[str, ...] | None:
        """The privileges on its table, view or sequence that the application role has by it."""
        return None

    @property
    def hands_on(self) -> tuple[Literal["ROUTINE", "SEQUENCE"], str, str] | None:
        """The kind of an object that is no table or view, its name as SQL, and the privilege on it that the application
        role gets: which only its owner can give, or who has the grant option."""
        return None

    @property
    def given_to(self) -> str | None:
        """The role that is to own the table that it makes."""
        return None

    @property
    def acts_as(self) -> tuple[str, ...]:
        """Other roles than the owner of its table as which it acts, or that get something of ours."""
        return () if self.given_to is None else (self.given_to,)

    @property
    def of_tables(self) -> tuple[Name, ...]:
        """The tables that it is there for, where its own is none, but a sequence that they are filled from."""
        return ()

    def reaches(self) -> Iterable[Reach]:
        """What those may do, or must, as whom its triggers run."""
        return ()

    @property
    def secures(self) -> RowSecurity | None:
        """Itself, where it puts its table under row security."""
        return None

    @property
    def policies(self) -> tuple[str, ...]:
        """The names of the policies that its table has once it is in force."""
        return ()

    # --- balances

    @property
    def keeps(self) -> Ledger | None:
        """The ledger whose balances it helps to keep."""
        return None

    @property
    def installs(self) -> Ledger | None:
        """The ledger, as its balances stand, where the sums and what adds to them are made."""
        return None

    # --- what becomes of others' objects, and of ours

    @property
    def makes(self) -> Name | None:
        """The table or view that it makes among the user's own: none of the schema as found."""
        return None

    def as_found(self, table: Table, before: Before) -> Table:
        """Its table with what it has changed of the user's own put back, given what `record` found."""
        return table

    def grants_as_found(self, grants: tuple[Grant, ...], before: Before) -> tuple[Grant, ...]:
        """The privileges of its table or view, had it never been."""
        return grants

    def clashes(self) -> tuple[str, sql.Composable] | None:
        """What of the user's cannot be had back while values stand in its way, and a query of their number, and one of
        them."""
        return None

    def stood_in(self, before: Before) -> Name | None:
        """The index of ours that has been the table's replica identity in place of one that comes back with its revert,
        given what `record` found."""
        return None

    @property
    def widened(self) -> Name | None:
        """The index of the user's that it has put the tenant column into."""
        return None

    @property
    def stays(self) -> str:
        """What it has made, where that outlasts a rollback if anybody needs it: an object of a sentence."""
        return ""

    @property
    def loses(self) -> str:
        """What people have put into what it makes, in the plural, and what goes with it: `values` counts them."""
        return ""

    @property
    def gives_up(self) -> tuple[str, str] | None:
        """What of the user's it takes away and nothing replaces, as a sentence; and what can be done about it."""
        return None

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
        whole = replace(self, tree=()) if self.below else self  # type: ignore[call-arg]
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
        """A query of one JSON object (`jsonb_build_object`), run before `apply` in the same transaction; `revert` is
        given it."""
        return None


@lru_cache(maxsize=1 << 16)
def _digest(step: Step) -> str:
    """Kept, for a large schema has many steps, and each is compared more than once."""
    return hashlib.sha256(step.wants().encode()).hexdigest()
