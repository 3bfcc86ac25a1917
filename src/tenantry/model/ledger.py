"""A ledger, resolved against the catalog: the key of its balances, and who may see them."""

from __future__ import annotations

from dataclasses import dataclass

from tenantry.model.name import JOURNAL_SCHEMA, Name, object_name, split

MEASURES = ("quantity", "total_in", "total_out", "movements")
"""What is added up for each key: the sum, what came in, what went out, and the number of movements."""
SPECIALS = ("nans", "infinities", "negative_infinities")
"""How many movements of each key are of no finite quantity. They are counted, and not added up: no sum comes back from
NaN, nor from an infinity, when the movement is taken back."""
SUMS = (*MEASURES, *SPECIALS)
"""What is added up in the table: the measures, of finite quantities, and the numbers of the others."""
READ = (*MEASURES, "last_movement", "version", "stale")
"""The columns of what readers query, behind those of the key."""
STORED = ("slot", *SUMS, "last_movement", "version")
"""The columns of the table behind it, behind those of the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyColumn:
    """A column of the key. `type` is, as SQL, the type in which balances keep it, wide enough for what the column's own
    may be widened to; `collation` (schema, name) where it is not the type's own; `operator` (schema, name) is the
    equality of the type's default B-tree operator class. `loose`: balances keep it without NOT NULL even where it is
    not `nullable`, so that writers are not the first to learn that it has become so. `source` is what the ledger calls
    the column by now, where that is not the `name` which it had when the balances were installed, and has in them."""

    name: str
    type: str
    nullable: bool
    operator: tuple[str, str]
    collation: tuple[str, str] | None = None
    loose: bool = False
    source: str = ""

    @property
    def in_ledger(self) -> str:
        """What the ledger calls it."""
        return self.source or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantColumn:
    """The column of the key by which a session's tenant is told, as balances call it. `setting` and `type` as in the
    policies; `mixed`: rows without a tenant are everybody's; `quarantine`: (table, key column, slug column, slug) of
    the tenant that no application may see."""

    name: str
    type: str
    setting: str
    mixed: bool = False
    quarantine: tuple[Name, str, str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """A ledger and its balances. `called` is the table's name from the time when they were installed, after which what
    keeps them is called; it tells any two ledgers apart, and stays whatever the table is renamed to. `balance` is the
    view that readers query, `tree` all partitions of the table, and `slots` the number of rows a key among which
    writers are spread; 0 where all share one; they are `chosen` where a person said so at the installation, and the
    spec does not."""

    table: Name
    called: str
    balance: Name
    key: tuple[KeyColumn, ...]
    quantity: str
    owner: str
    tree: tuple[Name, ...] = ()
    slots: int = 0
    chosen: bool = False
    non_negative: bool = False
    tenant: TenantColumn | None = None

    @property
    def storage(self) -> Name:
        """The table of the balances, in schema tenantry."""
        return Name(JOURNAL_SCHEMA, object_name("balances", *split(self.called)))

    @property
    def corrections(self) -> Name:
        """The table of differences that a backfill has found and not yet added; made by a backfill, and gone after."""
        return Name(JOURNAL_SCHEMA, object_name("corrections", *split(self.called)))

    @property
    def crossings(self) -> Name:
        """The table of the rows that running statements have moved from one partition to another."""
        return Name(JOURNAL_SCHEMA, object_name("crossings", *split(self.called)))

    @property
    def crossings_index(self) -> Name:
        """By which a statement finds its own."""
        return Name(JOURNAL_SCHEMA, object_name("crossings_index", *split(self.called)))

    def function(self, purpose: str) -> Name:
        """A trigger function of ours."""
        return Name(JOURNAL_SCHEMA, object_name(purpose, *split(self.called)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the key's columns in balances."""
        return tuple(column.name for column in self.key)

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the key's columns in the ledger."""
        return tuple(column.in_ledger for column in self.key)

    def key_column(self, name: str) -> KeyColumn:
        """The key's column of this name."""
        return next(column for column in self.key if column.name == name)

    @property
    def relations(self) -> tuple[Name, ...]:
        """The table and its partitions."""
        return (self.table, *self.tree)
