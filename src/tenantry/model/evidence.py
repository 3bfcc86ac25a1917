"""The census: the queries of the data before anything is changed, and their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from psycopg import sql

from tenantry.model.name import Name
from tenantry.model.spec import Orphans


class PathKind(StrEnum):
    """How a tenant can be found for a row; a REFERENCE gives none, but must not lead to another tenant's row."""

    GIVEN = "given"
    PATH = "path"
    CHILD = "child"
    ASSIGNED = "assigned"
    REFERENCE = "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathEvidence:
    """The result of one path for a table's rows. `label` is the path, the child or the column, for people.

    It gives `rows` a tenant, `alone` of them without any other path that does; `differs` counts the rows whose
    tenant is another than it gives.
    """

    label: str
    kind: PathKind
    rows: int
    alone: int
    differs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A row, by its primary key (by its address if it has none), and the tenants that each path gives."""

    key: Mapping[str, Any]
    tenants: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        key = ", ".join(f"{column} {value}" for column, value in self.key.items())
        results = "; ".join(f"{path} says {' and '.join(tenants)}" for path, tenants in self.tenants.items())
        return f"{key}: {results or 'no path leads to a tenant'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two paths of a table, by their labels, that give `rows` of it two different tenants, by their slugs; or one path
    that matches several rows that disagree."""

    one: str
    other: str
    tenants: tuple[str, str]
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEvidence:
    """The rows of one owned table.

    `orphans` found no tenant, whatever `policy` is applied to them; `conflicts` have paths that disagree. `counted` is
    False if all rows get one tenant and `rows` is PostgreSQL's estimate. `several`: the rows belong to more than one
    tenant. `crossing` are those of the conflicts in which only references, which give no tenant, lead to another
    tenant's row. `earlier` have a tenant from an earlier spec, which no source gives them, or contradicts, any more.
    """

    table: Name
    rows: int
    orphans: int = 0
    conflicts: int = 0
    policy: Orphans = Orphans.FAIL
    paths: tuple[PathEvidence, ...] = ()
    orphan_samples: tuple[Sample, ...] = ()
    conflict_samples: tuple[Sample, ...] = ()
    counted: bool = True
    several: bool = False
    earlier: int = 0
    crossing: int = 0

    @property
    def with_tenant(self) -> int:
        """Rows for which a path gives a tenant."""
        return self.rows - self.orphans

    @property
    def unaccepted(self) -> int:
        """The orphans for which the spec has no tenant."""
        return self.orphans if self.policy is Orphans.FAIL else 0

    @property
    def refused(self) -> bool:
        """Whether the table cannot be migrated with this spec."""
        return self.conflicts > 0 or self.unaccepted > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The result of the census, table by table, in order of derivation."""

    tables: Mapping[Name, TableEvidence] = field(default_factory=dict)

    @property
    def refused(self) -> tuple[TableEvidence, ...]:
        """The tables with conflicts, or with orphans that the spec does not accept."""
        return tuple(table for table in self.tables.values() if table.refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Statements that are run one after the other, repeatedly, until a complete round changes no row."""

    statements: tuple[sql.Composed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CensusQuestion:
    """The queries for one table: `counts` gives one row, for `read`.

    `orphans` and `conflicts` make the queries of samples, which are only run if the counts are not zero: for most
    tables they are never composed.
    """

    table: Name
    policy: Orphans
    paths: tuple[tuple[str, PathKind], ...]
    counts: sql.Composed
    orphans: Callable[[], sql.Composed]
    conflicts: Callable[[], sql.Composed]
    pairs: Callable[[], sql.Composed]
    """Makes the query of the data of `Pair`, most rows first: the numbers of both paths, their tenants, and the
    rows."""

    def read(self, row: Sequence[int]) -> TableEvidence:
        """The table's evidence, without samples."""
        rows, orphans, conflicts, several, earlier, crossing, *figures = row
        paths = tuple(
            PathEvidence(label=label, kind=kind, rows=reached, alone=alone, differs=differs)
            for (label, kind), reached, alone, differs in zip(
                self.paths, figures[0::3], figures[1::3], figures[2::3], strict=True
            )
        )
        return TableEvidence(
            table=self.table, rows=rows, orphans=orphans, conflicts=conflicts, policy=self.policy, paths=paths,
            several=bool(several), earlier=earlier, crossing=crossing,
        )  # fmt: skip

    def paired(self, rows: Sequence[Sequence[Any]]) -> tuple[Pair, ...]:
        """Read the rows of `pairs`."""
        labels = [label for label, _ in self.paths]
        return tuple(
            Pair(one=labels[one], other=labels[other], tenants=(mine, theirs), rows=count)
            for one, other, mine, theirs, count in rows
        )

    def samples(self, rows: Sequence[Sequence[Any]]) -> tuple[Sample, ...]:
        """Read the rows of `orphans` or `conflicts`: the key, then the list of tenants of each path."""
        return tuple(
            Sample(
                key=key,
                tenants={label: tuple(one) for (label, _), one in zip(self.paths, tenants, strict=True) if one},
            )
            for key, *tenants in rows
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """To be run in one snapshot: `tenant_maps` in order, then the questions; tables in `known` need no question."""

    tenant_maps: tuple[sql.Composed | Repeat, ...]
    questions: tuple[CensusQuestion, ...]
    known: tuple[TableEvidence, ...] = ()
    order: tuple[Name, ...] = ()

    def evidence(self, answers: Sequence[TableEvidence]) -> Evidence:
        """All tables' evidence, in order of derivation."""
        found = {table.table: table for table in (*self.known, *answers)}
        return Evidence(tables={name: found[name] for name in self.order})
