"""A ledger, resolved against the catalog: the key of its balances, and who may see them."""

from __future__ import annotations

from dataclasses import dataclass

from tenantry.model.name import JOURNAL_SCHEMA, Name, object_name, split

MEASURES = ("quantity", "total_in", "total_out", "movements")
"""The sums for each key: the total, what came in, what went out, and the number of movements."""
SPECIALS = ("nans", "infinities", "negative_infinities")
"""The number of movements of each key with a quantity that is not finite. They are counted and not summed: a sum that
is NaN or infinite would stay so when the movement is taken back."""
SUMS = (*MEASURES, *SPECIALS)
"""What the table holds: the measures, of finite quantities, and the numbers of the others."""
READ = (*MEASURES, "last_movement", "version", "stale")
"""The columns of the view that readers query, after those of the key."""
STORED = ("slot", *SUMS, "last_movement", "version")
"""The columns of the table of balances, after those of the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyColumn:
    """A column of the key. `type` is, as SQL, the type in which balances store it, wide enough for any type to which
    the ledger's column may be widened; `collation` (schema, name) if it is not that of the type; `operator` (schema,
    name) is the equality of the type's default B-tree operator class. `loose`: balances store it without NOT NULL even
    if it is not `nullable`, so that writers do not fail when it becomes nullable. `source` is the present name of the
    column in the ledger, if that is no longer the `name` that it had when the balances were installed, and still has in
    them."""

    name: str
    type: str
    nullable: bool
    operator: tuple[str, str]
    collation: tuple[str, str] | None = None
    loose: bool = False
    source: str = ""

    @property
    def in_ledger(self) -> str:
        """Its present name in the ledger."""
        return self.source or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantColumn:
    """The column of the key that holds the tenant, by its name in the balances. `setting` and `type` as in the
    policies; `mixed`: rows without a tenant belong to all tenants; `quarantine`: (table, key column, slug column, slug)
    of the tenant that no application may see."""

    name: str
    type: str
    setting: str
    mixed: bool = False
    quarantine: tuple[Name, str, str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """A ledger and its balances. `called` is the table's name at the time when they were installed, from which the
    names of the objects that maintain them are made; it is unique and stays when the table is renamed. `balance` is the
    view that readers query, `tree` all partitions of the table, and `slots` the number of rows for a key over which
    writers are spread; 0 if all share one; they are `chosen` if a person gave the number at the installation and the
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
        """The table of differences that a backfill has found and not yet added; a backfill creates it and drops it at
        its end."""
        return Name(JOURNAL_SCHEMA, object_name("corrections", *split(self.called)))

    @property
    def crossings(self) -> Name:
        """The table of the rows that running statements have moved from one partition to another."""
        return Name(JOURNAL_SCHEMA, object_name("crossings", *split(self.called)))

    @property
    def crossings_index(self) -> Name:
        """The index with which a statement finds its own rows."""
        return Name(JOURNAL_SCHEMA, object_name("crossings_index", *split(self.called)))

    def function(self, purpose: str) -> Name:
        """A trigger function of tenantry's."""
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
