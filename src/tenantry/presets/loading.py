"""Loads a preset's schema and sample rows with a connection that the caller has opened."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors, sql

from tenantry.errors import Refused, UsageError, nearest
from tenantry.postgres.queries import read_queries
from tenantry.presets import enterprise, estoque
from tenantry.presets.sample import LoadedSample, SampleRows, SampleTable

_SAMPLES: dict[str, type[SampleRows]] = {"estoque": estoque.Estoque, "enterprise": enterprise.Enterprise}
_FAULTS = {"estoque": estoque.FAULTS, "enterprise": enterprise.FAULTS}
_AFTER_THE_ROWS = "-- after the rows:"

PRESETS = tuple(_SAMPLES)


def load(
    connection: psycopg.Connection[Any],
    *,
    preset: str,
    rows: int,
    seed: int = 1,
    faults: Collection[str] = (),
) -> LoadedSample:
    """Create a preset's tables in an empty database and fill them, in one transaction.

    `rows` is the number of movements (at least 1), with which the other tables grow; the same `rows` and `seed` give
    the same rows, on any day and any server. `faults` names the kinds to plant (see `fault_kinds`), or is "all";
    planted rows are added to the others, which they do not change.

    Raises UsageError for an unknown preset or fault, and Refused if one of its names is already taken.
    """
    _check(preset)
    if rows < 1:
        raise UsageError(f"the number of rows is {rows}; it must be at least 1")
    sample = _SAMPLES[preset](rows, seed, _chosen(preset, faults))
    tables, _, keys = schema(preset).partition(_AFTER_THE_ROWS)
    with connection.transaction():
        _create(connection, preset, tables)
        counts = {table.name: _fill(connection, table) for table in sample.tables()}
        _create(connection, preset, _AFTER_THE_ROWS + keys)
        for name in counts:
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(name)))
    return LoadedSample(preset=preset, seed=seed, rows=counts, faults=tuple(sample.planted.faults))


def fault_kinds(preset: str) -> tuple[str, ...]:
    """The kinds of fault that can be planted in a preset. Raises UsageError for an unknown preset."""
    _check(preset)
    return _FAULTS[preset]


def schema(preset: str) -> str:
    """The SQL that creates a preset's tables, keys, indexes, triggers and views. Raises UsageError."""
    _check(preset)
    return (_folder(preset) / "schema.sql").read_text(encoding="utf-8")


def spec_path(preset: str) -> Path:
    """The spec file of a preset. Raises UsageError for an unknown preset."""
    _check(preset)
    return _folder(preset) / "tenantry.toml"


def transactions(preset: str) -> tuple[tuple[bytes, ...], ...]:
    """What an application does that names no tenants, each entry as the statements of one transaction.

    They take the parameters `pick` and `other`, from 0 to 1, and `name`, a unique text. Raises UsageError.
    """
    _check(preset)
    found: dict[str, list[bytes]] = {}
    for name, query in read_queries(_folder(preset) / "application.sql").items():
        found.setdefault(name.partition(".")[0], []).append(bytes(query))
    return tuple(tuple(statements) for statements in found.values())


def strays_query(preset: str) -> bytes:
    """A query of the number of rows whose tenant differs from what the user's own columns give. Raises UsageError."""
    _check(preset)
    return bytes(read_queries(_folder(preset) / "tenancy.sql")["strays"])


def _folder(preset: str) -> Path:
    return Path(__file__).parent / preset


def _check(preset: str) -> None:
    if preset not in PRESETS:
        raise UsageError(
            f"the preset {preset!r} does not exist{nearest(preset, PRESETS)}",
            remedy=f"Presets: {', '.join(PRESETS)}.",
        )


def _chosen(preset: str, faults: Collection[str]) -> frozenset[str]:
    known = _FAULTS[preset]
    chosen = {faults} if isinstance(faults, str) else set(faults)
    if "all" in chosen:
        chosen = chosen - {"all"} | set(known)
    for fault in sorted(chosen.difference(known)):
        raise UsageError(
            f"the preset {preset} has no fault {fault!r}{nearest(fault, known)}",
            remedy=f"Faults of {preset}: {', '.join(known)}, or all.",
        )
    return frozenset(chosen)


def _create(connection: psycopg.Connection[Any], preset: str, statements: str) -> None:
    taken = (errors.DuplicateTable, errors.DuplicateFunction, errors.DuplicateObject)
    try:
        connection.execute(statements)
    except taken as error:
        raise Refused(
            f"the sample {preset} cannot be loaded into this database: {error.diag.message_primary}",
            remedy="Load it into an empty database.",
        ) from error


def _fill(connection: psycopg.Connection[Any], table: SampleTable) -> int:
    target = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, table.columns))
    )
    count = 0
    with connection.cursor() as cursor:
        with cursor.copy(target) as copy:
            for count, row in enumerate(table.rows, 1):  # noqa: B007 (read after the loop)
                copy.write_row(row)
        # Ids run from 1 without gaps; a uuid key has no sequence, and setval of NULL does nothing.
        if count:
            cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", (table.name, count))
    return count
