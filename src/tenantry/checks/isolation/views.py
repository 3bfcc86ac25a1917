"""Whether a view can show anything to somebody who sees no owned row, by PostgreSQL's own plan for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from tenantry.checks.base import CheckContext
from tenantry.model.name import Name

_BESIDE = ("InitPlan", "SubPlan")
"""What is computed beside the rows: without a row, it shows nothing."""
_ALWAYS_ONE = "Plain"
"""The strategy of an aggregate without groups, which gives a row even of nothing."""


def readable_only_through_owned(connection: psycopg.Connection[Any], ground: CheckContext, view: Name) -> bool:
    """True where every row of the view comes from rows of owned tables that are not mixed.

    False where the plan is not such, or is not to be had.
    """
    query = sql.SQL("EXPLAIN (VERBOSE, FORMAT JSON) SELECT * FROM {}").format(view.identifier)
    try:
        with connection.transaction(force_rollback=True):
            row = connection.execute(query).fetchone()
    except psycopg.Error:
        if connection.closed:
            raise
        return False
    assert row is not None
    return all(_only_owned(node, ground) for node in _leaves(row[0][0]["Plan"]))


def _leaves(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Where rows come from."""
    children = [child for child in node.get("Plans", ()) if child.get("Parent Relationship") not in _BESIDE]
    if not children or (node["Node Type"] == "Aggregate" and node.get("Strategy") == _ALWAYS_ONE):
        yield node
        return
    for child in children:
        yield from _leaves(child)


def _only_owned(node: Mapping[str, Any], ground: CheckContext) -> bool:
    if "Relation Name" not in node:
        return False
    owned = ground.ownership.of(Name(node["Schema"], node["Relation Name"]))
    return owned is not None and not owned.mixed
