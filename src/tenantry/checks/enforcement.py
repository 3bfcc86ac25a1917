"""Whether the database enforces what its catalog shows: foreign keys whose triggers are disabled, disabled triggers of
tenantry, and settings that disable all triggers. While they are disabled, every write may add rows that other checks
then find."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from tenantry.checks.base import CheckContext
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name, quoted
from tenantry.model.wording import listed
from tenantry.postgres.catalog import OUR_PREFIXES
from tenantry.postgres.queries import read_queries

_QUERIES = read_queries(Path(__file__).with_name("sql") / "enforcement.sql")
SETTING = "session_replication_role"
_error = partial(Finding, family=Family.REFERENCES, severity=Severity.ERROR)
_warning = partial(Finding, family=Family.REFERENCES, severity=Severity.WARNING)


def enforcement(context: CheckContext) -> Iterator[Finding]:
    """Rows that were written meanwhile are counted by other checks."""
    context.looking("whether foreign keys and triggers are enforced")
    yield from _silent_keys(context)
    yield from _keys_not_enforced(context)
    yield from _silent_triggers(context)
    yield from _settings(context)
    yield from _subscriptions(context)


def _ask(context: CheckContext, query: str, **parameters: Any) -> list[dict[str, Any]]:
    with context.connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(_QUERIES[query], parameters or None).fetchall()


def _of_tables(context: CheckContext, query: str) -> list[dict[str, Any]]:
    return _ask(context, query, names=[name.identifier.as_string(None) for name in sorted(context.live.tables)])


def _yes(context: CheckContext, query: str) -> bool:
    return context.connection.execute(_QUERIES[query]).fetchone() == (True,)


def _silent_keys(context: CheckContext) -> Iterator[Finding]:
    for row in _of_tables(context, "silent_keys"):
        table, parent = Name(row["schema"], row["name"]), Name(row["parent_schema"], row["parent_name"])
        if not (context.wants(table) or context.wants(parent)):
            continue
        silent: dict[Name, list[str]] = {}
        for schema, relation, trigger in row["triggers"]:
            silent.setdefault(Name(schema, relation), []).append(trigger)
        # By name: ENABLE TRIGGER ALL would also enable triggers that others have disabled, and end ENABLE ALWAYS of
        # tenantry's.
        statements = [
            f"ALTER TABLE {relation} " + ", ".join(f"ENABLE TRIGGER {quoted(name)}" for name in names)
            for relation, names in silent.items()
        ]
        yield _error(
            name="foreign-key-disabled", table=table, count=len(row["triggers"]),
            message=f"The foreign key {quoted(row['constraint'])} of {table} to {parent} is not enforced: its triggers"
            f" on {', '.join(map(str, silent))} are disabled",
            remedy=f"As a superuser: {'; '.join(statements)}.",
            samples=tuple(
                {"relation": str(Name(schema, relation)), "trigger": trigger}
                for schema, relation, trigger in row["triggers"][: context.samples]
            ),
        )  # fmt: skip


def _keys_not_enforced(context: CheckContext) -> Iterator[Finding]:
    """A key of the user's own may be NOT ENFORCED on purpose."""
    for row in _of_tables(context, "keys_not_enforced"):
        table, constraint = Name(row["schema"], row["name"]), row["constraint"]
        if context.wants(table):
            report = _error if constraint.startswith(OUR_PREFIXES) else _warning
            yield report(
                name="foreign-key-not-enforced", table=table,
                message=f"The foreign key {quoted(constraint)} of {table} is NOT ENFORCED",
                remedy=f"ALTER TABLE {table} ALTER CONSTRAINT {quoted(constraint)} ENFORCED.",
            )  # fmt: skip


def _silent_triggers(context: CheckContext) -> Iterator[Finding]:
    found: dict[Name, list[str]] = {}
    for row in _of_tables(context, "silent_triggers"):
        found.setdefault(Name(row["schema"], row["name"]), []).append(quoted(row["trigger"]))
    for table, triggers in found.items():
        if context.wants(context.live.topmost(table)):
            yield _error(
                name="trigger-disabled", table=table, count=len(triggers),
                message=f"Triggers of tenantry on the partition {table} do not always fire: {', '.join(triggers)}",
                remedy=f"ALTER TABLE {table} {', '.join(f'ENABLE ALWAYS TRIGGER {name}' for name in triggers)}.",
                samples=tuple({"trigger": name} for name in triggers[: context.samples]),
            )  # fmt: skip


def _settings(context: CheckContext) -> Iterator[Finding]:
    """With session_replication_role = replica, only ENABLE ALWAYS triggers fire, and foreign keys are not checked."""
    ways: list[tuple[str, str]] = []
    for row in _ask(context, "replica_settings"):
        what = f"ALTER ROLE {quoted(row['role'])}" if row["role"] else "ALTER ROLE ALL"
        what += f" IN DATABASE {quoted(row['database'])}" if row["database"] else ""
        if row["database"] and not row["role"]:
            what = f"ALTER DATABASE {quoted(row['database'])}"
        ways.append((f"{what} SET {SETTING} = replica", f"{what} RESET {SETTING}"))
    if _yes(context, "replica_server") or (_yes(context, "sees_files") and _yes(context, "replica_files")):
        again = f"ALTER SYSTEM RESET {SETTING}, take it out of postgresql.conf, and SELECT pg_reload_conf()"
        ways.append((f"{SETTING} = replica in the server's configuration", again))
    for row in _ask(context, "replica_functions"):
        function = f"ALTER FUNCTION {row['signature']}"
        ways.append((f"{function} SET {SETTING} = replica", f"{function} RESET {SETTING}"))
    for way, remedy in ways:
        yield _error(
            name="triggers-switched-off",
            message=f"{way} disables foreign keys and triggers for all that is written then", remedy=f"{remedy}.",
        )  # fmt: skip


def _subscriptions(context: CheckContext) -> Iterator[Finding]:
    found: dict[str, list[Name]] = {}
    for row in _of_tables(context, "subscriptions"):
        name = Name(row["schema"], row["name"])
        if context.wants(context.live.topmost(name)) and context.ownership.of(context.live.topmost(name)) is not None:
            found.setdefault(row["subscription"], []).append(name)
    for subscription, tables in found.items():
        yield _warning(
            name="subscription", table=tables[0], count=len(tables),
            message=f"The subscription {quoted(subscription)} writes to {listed(tables)}, and neither policies nor"
            " foreign keys apply to what it writes",
            remedy="Make sure that the publisher has the same foreign keys, or replicate into separate tables.",
            samples=tuple({"table": str(name)} for name in tables[: context.samples]),
        )  # fmt: skip
