"""conflicts: rows that lead to several tenants, by the paths that disagree, with the statements that would correct
them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tenantry.discovery.corrections import PathCorrection, corrections
from tenantry.discovery.profile import SAMPLES, census
from tenantry.execution.session import Session, open_session
from tenantry.model.evidence import Pair, Sample
from tenantry.model.name import Name
from tenantry.model.spec import Spec, TablePart
from tenantry.postgres.census import run_census
from tenantry.postgres.connect import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflicts:
    """The conflicts of one table: `rows` that disagree, which tenants the paths lead to, some of the rows, and for each
    pair of paths the statements that would make one of them follow the other."""

    table: Name
    rows: int
    pairs: tuple[Pair, ...]
    samples: tuple[Sample, ...] = ()
    corrections: Mapping[tuple[str, str], tuple[PathCorrection, ...]] = field(default_factory=dict)


def conflicts(target: Target, spec: Spec, *, all_rows: bool = False) -> tuple[Conflicts, ...]:
    """The tables with rows that disagree, most rows first; with `all_rows` the samples are all of these rows. Changes
    nothing.

    Undecided tables are checked along the paths that the spec has for them. Raises UsageError if the spec does not fit
    the database, ConnectionFailed without a connection or the privilege to read.
    """
    asked = spec.model_copy(update={"table": tuple(_as_decided(part) for part in spec.table)})
    asked._path = spec.path
    pairs: dict[Name, Sequence[Pair]] = {}
    with open_session(target, purpose="conflicts") as connection:
        session = Session.begin(target, connection, asked)
        ownership, schema = session.plan.ownership, session.schema
        evidence = run_census(
            connection,
            census(ownership, schema, samples=None if all_rows else SAMPLES),
            disputed=pairs.__setitem__,
        )
    found = []
    for table, disputed in pairs.items():
        owned = ownership.of(table)
        assert owned is not None
        found.append(
            Conflicts(
                table=table, rows=evidence.tables[table].conflicts, pairs=tuple(disputed),
                samples=evidence.tables[table].conflict_samples,
                corrections=corrections([(pair.one, pair.other) for pair in disputed], owned, ownership, schema),
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda one: (-one.rows, one.table)))


def _as_decided(part: TablePart) -> TablePart:
    return part.model_copy(update={"undecided": None}) if part.paths or part.children else part
