"""The base class of steps: a value that holds what it changes, how that is undone, and how it is recognised."""

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
    from tenantry.steps.citus_concurrent_move import ConcurrentMove
    from tenantry.steps.fill import Backfill
    from tenantry.steps.naming import StaticNames
    from tenantry.steps.row_security import RowSecurity
    from tenantry.steps.tenants import TenantRow

Category = Literal["constraint", "index", "row security"]
Need = Literal["CREATE in the schema", "to grant USAGE of the schema", "CREATEROLE"]
Reach = tuple[str, Name, str]
"""A role, a table, and the privilege that the role needs there; an empty one where the table's name is enough."""
Before = Mapping[str, Any]
"""The JSON object that `record` selected before the step was applied; empty for steps that record nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeKeyBeside:
    """A foreign key of the user's with a composite key of tenantry's beside it: its columns and its parent, the name of
    the composite key, and whether that waits for COMMIT."""

    columns: tuple[str, ...]
    parent: Name
    constraint: str
    deferred: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(ABC):
    """One change to one table. Its subclasses are plain data, so that the journal can store them."""

    phase: Phase
    table: Name

    preserved: ClassVar[bool] = False
    """True if `rollback --preserve-data` does not revert it."""
    journaled: ClassVar[bool] = False
    """True if the catalog alone cannot tell its state: it is applied only if the journal records it, too."""
    compared: ClassVar[bool] = False
    """True if its definition cannot change by itself once it is applied, so that another definition means that another
    session has altered it."""
    in_place: ClassVar[bool] = False
    """True if applying it replaces an earlier step of the same key completely, so that the earlier one need not be
    reverted first."""
    carries: ClassVar[bool] = False
    """True if other steps depend on what it makes or are restricted by it: if it is no longer part of the plan, it is
    reverted after all others."""
    of_table: ClassVar[bool] = True
    """False if it serves all tables, whichever one it names."""
    of_role: ClassVar[bool] = False
    """True if it changes privileges of a role, which others may change as well."""
    category: ClassVar[Category | None] = None
    """The kind under which `status` counts it."""
    holds: ClassVar[bool] = False
    """True if rows have values in what it makes: replacing it would lose them."""
    of_owned: ClassVar[bool] = False
    """True if only the tenant table and tables whose rows belong to tenants have it."""
    refuses_null: ClassVar[bool] = False
    """True if no row of its table can be without a tenant once it is applied."""
    proves: ClassVar[bool] = False
    """True if existing rows may violate it."""
    restores: ClassVar[bool] = False
    """True if its revert restores values that constraints of later phases, and of its own, would refuse: a rollback
    reverts it when none of these is left."""
    noted_besides: ClassVar[bool] = False
    """True if the journal stores more for it than its own row: the progress of a fill and what it has filled, or the
    name of a column."""
    engine: ClassVar[bool] = False
    """True if only Citus can apply it."""
    needs: ClassVar[Need | None] = None
    """The privileges that applying it needs besides owning its table, and reverting it does not."""

    @property
    @abstractmethod
    def key(self) -> str:
        """Identifies the step among all steps of a database, permanently."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What it does, in words for people."""

    @property
    def subject(self) -> str:
        """What it makes, by the name that it has in the database: the subject of a sentence."""
        return f"On {self.table}: {self.title}"

    @property
    def note(self) -> str:
        """What changes for the user's application, if anything."""
        return ""

    @property
    def remedy(self) -> str:
        """What a person can do if the database refuses it; empty if there is nothing special."""
        return ""

    @property
    def ends(self) -> tuple[str, ...]:
        """Keys of the earlier steps whose work this one reverts: once it is applied, they count as done."""
        return ()

    @property
    def below(self) -> tuple[Name, ...]:
        """The partitions and inheritance children of its table that it changes together with it."""
        tree: tuple[Name, ...] = getattr(self, "tree", ())
        return tree

    @property
    def built(self) -> tuple[Name, str | None] | None:
        """What it has made that other objects could depend on: a relation or index, or a column of it."""
        return None

    @property
    def trigger_function(self) -> Name | None:
        """The trigger function of tenantry's in whose text, which does not follow a rename, it names tables."""
        return None

    @property
    def kept_triggers(self) -> tuple[str, ...]:
        """The names of the triggers on its table that stay after `rollback --preserve-data`."""
        return ()

    @property
    def own_index(self) -> Name | None:
        """The index of tenantry's that it is about, which follows its table into another schema."""
        return None

    @property
    def indexed(self) -> tuple[str, ...] | None:
        """The columns after the tenant of an index that it builds over a table's rows; None if it builds none."""
        return None

    @property
    def beside(self) -> CompositeKeyBeside | None:
        """The foreign key of the user's beside which it puts one of tenantry's."""
        return None

    @property
    def withdraws(self) -> tuple[str, ...]:
        """The privileges on its table that it revokes from the application role."""
        return ()

    def moved_to(self, table: Name) -> Step:
        """The same step on one of the relations in `below`."""
        return replace(self, table=table, tree=())  # type: ignore[call-arg]

    def renamed(self, names: StaticNames) -> Step:
        """The same with other names of columns, for those that only the step itself can replace: see
        renaming.with_columns."""
        return self

    # --- moving rows to other servers

    @property
    def nonblocking(self) -> Step:
        """The same, while writers of its table go on; itself, if it does not make them wait, or has no other form."""
        return self

    @property
    def concurrent_move(self) -> ConcurrentMove | None:
        """How it moves rows while writers of its table go on."""
        return None

    # --- tenants

    @property
    def holds_to_tenants(self) -> tuple[str, sql.Composable] | None:
        """The column of its table in which it refuses values that are no tenant's key, and a query of the number of
        rows that have such a value."""
        return None

    @property
    def tenant_table(self) -> Name | None:
        """The tenant table, if the step makes it, or adds something to it or that refers to it."""
        return None

    @property
    def tenant_row(self) -> TenantRow | None:
        """Itself, if it adds a tenant to which rows may come to belong."""
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
        """Itself, if it is not applied statement by statement but in batches while applications go on."""
        return None

    @property
    def undoing(self) -> Backfill | None:
        """For a fill that is reverted in batches, too, while applications go on: these batches."""
        return None

    @property
    def filled(self) -> tuple[Name, ...]:
        """The relations whose rows it gives a tenant."""
        return ()

    @property
    def allotted(self) -> tuple[Name, ...]:
        """The relations for whose rows a tenant must be found: those that it fills, or gives a column."""
        return self.filled

    @property
    def derives(self) -> tuple[tuple[Name, tuple[Source, ...]], ...]:
        """The relations whose rows get their tenant from it, and the sources of that."""
        return ()

    @property
    def adopts(self) -> tuple[Adoption, ...]:
        """The parents of its table to which it gives the tenant of their children."""
        return ()

    def moves(self, changed: frozenset[str]) -> tuple[Follower, ...]:
        """The tables whose rows it changes together with a row of its own in which these columns change."""
        return ()

    @property
    def shields(self) -> tuple[Name, ...]:
        """The relations in which it keeps a fill from changing anything but the tenant."""
        return ()

    # --- roles

    @property
    def application(self) -> str | None:
        """The application role that it prepares, or to which it shows the rows of its tenant."""
        return None

    @property
    def granted_privileges(self) -> tuple[str, ...] | None:
        """The privileges on its table, view or sequence that it grants to the application role."""
        return None

    @property
    def hands_on(self) -> tuple[Literal["ROUTINE", "SEQUENCE"], str, str] | None:
        """An object that is no table or view: its kind, its name as SQL, and the privilege on it that the application
        role gets, which only its owner or a role with the grant option can grant."""
        return None

    @property
    def given_to(self) -> str | None:
        """The role that is to own the table that it creates."""
        return None

    @property
    def acts_as(self) -> tuple[str, ...]:
        """Roles other than the owner of its table as which it acts, or to which it gives an object of tenantry's."""
        return () if self.given_to is None else (self.given_to,)

    @property
    def of_tables(self) -> tuple[Name, ...]:
        """The tables that it serves, if its own object is not a table but a sequence that fills their columns."""
        return ()

    def reaches(self) -> Iterable[Reach]:
        """The privileges that the roles need, or must have, as which its triggers run."""
        return ()

    @property
    def secures(self) -> RowSecurity | None:
        """Itself, if it puts its table under row-level security."""
        return None

    @property
    def policies(self) -> tuple[str, ...]:
        """The names of the policies that its table has once it is applied."""
        return ()

    # --- balances

    @property
    def keeps(self) -> Ledger | None:
        """The ledger whose balances it helps to maintain."""
        return None

    @property
    def installs(self) -> Ledger | None:
        """The ledger, with the state of its balances, if it makes the sums and what adds to them."""
        return None

    # --- objects of users, and tenantry's own

    @property
    def makes(self) -> Name | None:
        """The table or view that it creates among the user's own, which is not part of the original schema."""
        return None

    def original_table(self, table: Table, before: Before) -> Table:
        """The original form of its table: what it has changed of the user's own restored, given what `record`
        selected."""
        return table

    def original_grants(self, grants: tuple[Grant, ...], before: Before) -> tuple[Grant, ...]:
        """The privileges on its table or view as if it had never been applied."""
        return grants

    def clashes(self) -> tuple[str, sql.Composable] | None:
        """What cannot be restored of the user's schema while values violate it, and a query of their number, and one of
        them."""
        return None

    def stood_in(self, before: Before) -> tuple[Name, ...]:
        """The indexes of tenantry's that became replica identities in place of those that its revert restores, given
        what `record` selected."""
        return ()

    @property
    def widened(self) -> Name | None:
        """The index of the user's that it has put the tenant column into."""
        return None

    @property
    def stays(self) -> str:
        """What it has made, if a rollback keeps it when others need it: the object of a sentence."""
        return ""

    @property
    def loses(self) -> str:
        """What people have stored in what it makes, in the plural, and what is lost with it: `values` counts them."""
        return ""

    @property
    def gives_up(self) -> tuple[str, str] | None:
        """What it takes away from the user without a replacement, as a sentence; and what can be done about it."""
        return None

    @property
    def supersedes(self) -> bool:
        """Whether it has made everything that is still wanted of the steps that it `ends`, so that they need never be
        applied again."""
        return False

    @abstractmethod
    def definition(self) -> sql.Composable:
        """A query whose single text describes what is applied; no row, or NULL, if the step is not applied."""

    def wants(self) -> str:
        """Everything that it wants of the database, as one text: if the texts of two steps with one key differ, the
        spec has changed. Partitions come and go without a change of what is wanted of the partitioned table: `tree` is
        not part of it."""
        without_tree = self.moved_to(self.table) if self.below else self
        return ";\n".join(statement.text for statement in without_tree.apply())

    @property
    def wanted(self) -> str:
        """A digest of what it wants, which the journal keeps."""
        return _digest(self)

    def values(self) -> sql.Composable | None:
        """A query of the number of rows that have a value in what it makes, or have one from it that cannot be told
        from others; None if there are none to count."""
        return None

    @abstractmethod
    def apply(self) -> tuple[Statement, ...]:
        """The statements that apply it."""

    @abstractmethod
    def revert(self, before: Before) -> tuple[Statement, ...]:
        """The statements that revert it, given what `record` selected; they may run twice."""

    def keep(self, before: Before) -> tuple[Statement, ...]:
        """The statements of `rollback --preserve-data` for a step that stays."""
        return ()

    def record(self) -> sql.Composable | None:
        """A query of one JSON object (`jsonb_build_object`), run before `apply` in the same transaction and given to
        `revert`."""
        return None


@lru_cache(maxsize=1 << 16)
def _digest(step: Step) -> str:
    """Cached, since a large schema has many steps, and each is compared more than once."""
    return hashlib.sha256(step.wants().encode()).hexdigest()
