"""What prevents tables from being distributed by tenant, read from the catalog and from pg_stat_statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

from tenantry.model.name import Name
from tenantry.postgres.preflight import read_statements
from tenantry.postgres.queries import read_queries
from tenantry.postgres.server_state import StatementStat

_QUERIES = read_queries(Path(__file__).with_name("sql") / "distribution.sql")
CHANGING = r"\mmerge\M|\mcopy\M|\mon\s+conflict\M|\mfor\s+(no\s+key\s+update|update|key\s+share|share)\M|\mnextval\M"
"""Statements of which some have another meaning once tables are distributed, or are refused."""
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherPolicy:
    """A policy that is not tenantry's, and the roles to which it applies, such as `public`; `subquery`: its expressions
    have one."""

    table: Name
    policy: str
    permissive: bool
    subquery: bool
    roles: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnKey:
    """A view, a rule or a function for which PostgreSQL needs the `key` of a table; `dependent` says which, and its
    name."""

    table: Name
    key: str
    dependent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """An exclusion constraint, or, if it has `periods`, a key WITHOUT OVERLAPS; and the columns that it compares for
    equality."""

    table: Name
    key: str
    periods: bool
    equal: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidIndex:
    """A unique index that is not valid."""

    table: Name
    index: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of a table or a view, and its definition as SQL."""

    table: Name
    rule: str
    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrowSequence:
    """A column of fewer than eight bytes that is filled from a sequence."""

    table: Name
    column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBetween:
    """A foreign key of one of the given tables, or of any table to one of these."""

    table: Name
    key: str
    parent: Name


def _key_between(*, parent_schema: str, parent_name: str, **row: Any) -> KeyBetween:
    return KeyBetween(parent=Name(parent_schema, parent_name), **row)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionFacts:
    """`extension`: the database has Citus. `executed` is None if pg_stat_statements is missing or cannot be read."""

    extension: bool
    policies: tuple[OtherPolicy, ...]
    on_keys: tuple[OnKey, ...]
    exclusions: tuple[Exclusion, ...]
    invalid: tuple[InvalidIndex, ...]
    rules: tuple[Rule, ...]
    narrow: tuple[NarrowSequence, ...]
    keys: tuple[KeyBetween, ...]
    executed: tuple[StatementStat, ...] | None


def read_distribution(connection: psycopg.Connection[Any], tables: Sequence[Name]) -> DistributionFacts:
    """The facts about these tables. It only reads."""
    names = [name.identifier.as_string(None) for name in tables]

    def read(value: Callable[..., Value], query: str) -> tuple[Value, ...]:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(_QUERIES[query], {"names": names}).fetchall()
        return tuple(value(table=Name(row.pop("schema"), row.pop("name")), **row) for row in rows)

    return DistributionFacts(
        extension=has_citus(connection), policies=read(OtherPolicy, "policies"),
        on_keys=read(OnKey, "standing_on_keys"), narrow=read(NarrowSequence, "narrow_sequences"),
        exclusions=read(Exclusion, "exclusions"), invalid=read(InvalidIndex, "invalid_indexes"),
        rules=read(Rule, "rules"),
        keys=read_keys(connection, tables), executed=read_statements(connection, CHANGING),
    )  # fmt: skip


def read_keys(connection: psycopg.Connection[Any], tables: Sequence[Name]) -> tuple[KeyBetween, ...]:
    """The foreign keys of these tables, and those of any table to one of these. It only reads."""
    names = [name.identifier.as_string(None) for name in tables]
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_QUERIES["keys"], {"names": names}).fetchall()
    return tuple(_key_between(table=Name(row.pop("schema"), row.pop("name")), **row) for row in rows)


def has_citus(connection: psycopg.Connection[Any]) -> bool:
    """Whether the database has the extension."""
    return connection.execute(_QUERIES["extension"]).fetchone() == (True,)
