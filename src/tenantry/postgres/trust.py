"""Whether the contents of the schema `tenantry` can be trusted: a role that could change them could run code as
tenantry's role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from tenantry.errors import Refused
from tenantry.postgres.queries import read_queries

JOURNAL = (
    "journal", "runs", "steps", "columns", "events", "progress", "filled", "described", "backups", "fixes",
    "fixed_rows", "removals", "moves", "ledgers", "reconciliations", "discrepancies", "drifts", "secret", "api_keys",
)  # fmt: skip
"""The tables that are read and written as the operator."""

_QUERIES = read_queries(Path(__file__).with_name("sql") / "trust.sql")


def require_trusted(connection: psycopg.Connection[Any]) -> None:
    """Raises Refused if a role other than tenantry's or a superuser owns the schema or an object in it, may change it,
    or has added what would run as tenantry's role: triggers, rules, policies, inheritance children, expressions.

    It queries the catalog, and reads nothing of the schema itself.
    """
    found = connection.execute(_QUERIES["objections"], {"journal": list(JOURNAL)}).fetchall()
    if found:
        _, problem, remedy = found[0]
        raise Refused(
            f"The journal cannot be trusted: {problem}",
            remedy=remedy,
            details=[f"{problem}: {remedy}" for _, problem, remedy in found[1:]],
        )
