"""What two databases that went different ways must have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from psycopg import sql

from servers import Database, client

USER_TABLES = """
SELECT c.oid::regclass::text, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relnamespace::regnamespace::text
  NOT IN ('pg_catalog', 'information_schema', 'tenantry') GROUP BY 1
"""
OF_ITS_OWN = re.compile(r"'\d+'::pg_catalog\.oid|known\.made = '[0-9a-f-]{36}'")
"""What a function of ours has in it that is another in each database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A migrated database: its schema with ours, its rows, its journal. Names that two of them cannot share, those of
    roles and of new tenants' keys, are replaced by words, and numbers of their own by nothing."""

    schema: str
    ours: str
    rows: dict[str, Any]
    journal: list[tuple[Any, ...]]
    left: list[tuple[Any, ...]]


def migrated_state(database: Database, roles: Mapping[str, str], tenant_table: str) -> State:
    """`roles`: what the database's own are for; `tenant_table` has the columns id and slug."""
    names = {name: f"{purpose}_role" for name, purpose in roles.items()}
    if database.rows("SELECT to_regclass(%s) IS NOT NULL", [tenant_table]) == [(True,)]:
        # Those that are random: another key is the same in each database, and may occur in any other text.
        random = f"SELECT id::text, slug FROM {tenant_table} WHERE length(id::text) = 36"
        names |= {key: f"key of {slug}" for key, slug in database.rows(random)}

    def named(text: str | None) -> str | None:
        for found, name in names.items():
            text = text.replace(found, name) if text is not None else None
        return OF_ITS_OWN.sub("#", text) if text is not None else None

    ours = client("pg_dump", "--schema-only", "--schema=tenantry", "-d", database.dsn)
    volatile = ("\\restrict", "\\unrestrict")
    steps = database.rows(
        "SELECT key, phase, state, definition, before::text, value::text FROM tenantry.steps ORDER BY position"
    )
    return State(
        schema=named(database.dump()) or "",
        ours=named("".join(line for line in ours.splitlines(True) if not line.startswith(volatile))) or "",
        rows=_rows(database, names),
        journal=[tuple(named(value) for value in step) for step in steps],
        left=database.rows(
            "SELECT 'progress', step, count(*) FROM tenantry.progress GROUP BY 2"
            " UNION ALL SELECT 'filled', step, count(*) FROM tenantry.filled GROUP BY 2 ORDER BY 1, 2"
        ),
    )


def _rows(database: Database, names: dict[str, str]) -> dict[str, Any]:
    """Per table the number of rows and a checksum of all columns, whatever the order of the rows."""
    found = {}
    for table, columns in database.rows(USER_TABLES):
        row: sql.Composable = sql.SQL("ROW({})::text").format(sql.SQL(", ").join(map(sql.Identifier, sorted(columns))))
        for name, word in names.items():
            row = sql.SQL("replace({}, {}, {})").format(row, sql.Literal(name), sql.Literal(word))
        query = sql.SQL(
            "SELECT count(*), coalesce(sum(('x' || substr(md5({}), 1, 15))::bit(60)::bigint), 0)::text FROM {}"
        ).format(row, sql.SQL(table))
        with database.connect() as connection:
            found[table] = connection.execute(query).fetchone()
    return found


def assert_same(one: State, other: State) -> None:
    """Part by part, so that a failure shows where they differ."""
    for name in ("rows", "journal", "left", "schema", "ours"):
        left, right = (_lines(getattr(state, name)) for state in (one, other))
        differences = list(unified_diff(left, right, lineterm="", n=1))
        assert not differences, f"{name} differs:\n" + "\n".join(line[:600] for line in differences[:40])


def _lines(part: Any) -> list[str]:
    if isinstance(part, str):
        return part.splitlines()
    return [str(entry) for entry in (sorted(part.items()) if isinstance(part, dict) else part)]
