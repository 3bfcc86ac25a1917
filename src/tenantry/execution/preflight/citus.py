"""What prevents Citus from distributing the tables, and what would be lost on the way back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import psycopg

from tenantry.execution.preflight.findings import refused, warned
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.model.schema import Schema
from tenantry.planning import Plan
from tenantry.postgres.citus import CitusFacts, open_sessions, read_citus
from tenantry.postgres.distribution import KeyBetween, read_keys
from tenantry.postgres.owner_context import fenced
from tenantry.steps import Step
from tenantry.steps.citus_setting import SETTING, application_users
from tenantry.steps.citus_undistribute import dependents

firm = partial(refused, forcible=False)
OLDEST, TESTED = 12, 14
"""Major versions of Citus: the oldest with all functions that are used, and the one that the tests run on."""


def citus_findings(
    connection: psycopg.Connection[Any], *, schema: Schema, plan: Plan, pending: Sequence[Step]
) -> Iterator[Finding]:
    """The findings before the steps that only Citus can apply; none unless one is pending. The database has Citus."""
    if not any(step.engine for step in pending):
        return
    owned = [one.table for one in plan.ownership.owned]
    copied = [*plan.ownership.shared, plan.ownership.tenant.name]
    tables = tuple(dict.fromkeys(name for name in (*owned, *copied) if name in schema.tables))
    facts = read_citus(connection, tables)
    yield from nodes(facts)
    if not facts.coordinator:
        return
    columns = {one.table: one.column for one in plan.ownership.owned}
    begun = {step.table for step in plan.steps if step.engine} - {step.table for step in pending if step.engine}
    yield from distributed(facts, {name: columns.get(name) for name in tables if name not in begun})
    yield from outside(tables, read_keys(connection, tables))
    if fenced(connection):
        yield from owners(schema, tables)
    for name in tables:
        yield from no_way_back(name, [row[0] for row in connection.execute(dependents(name))])
    role = next((step.application for step in plan.steps if step.application is not None), None)
    if role is not None:
        yield from sessions(connection, role)


def nodes(facts: CitusFacts) -> Iterator[Finding]:
    """The version, and the state of the nodes."""
    if facts.release < OLDEST:
        yield firm(
            name="distribute-engine-version", message=f"The extension citus has version {facts.version}",
            remedy=f"ALTER EXTENSION citus UPDATE, to version {OLDEST} or newer.",
        )  # fmt: skip
    elif facts.release != TESTED:
        yield warned(
            name="distribute-engine-version",
            message=f"The extension citus has version {facts.version}, and tenantry was tested with {TESTED}",
            remedy="Rehearse on a copy.",
        )  # fmt: skip
    if not facts.coordinator:
        yield firm(
            name="distribute-engine-coordinator",
            message="This server is a worker: tables are distributed from the coordinator",
            remedy="Connect to the coordinator.",
        )  # fmt: skip
        return
    if not any(node.coordinator for node in facts.nodes):
        yield firm(
            name="distribute-engine-coordinator", message="The coordinator does not know its own address",
            remedy="SELECT citus_set_coordinator_host('ITS NAME', ITS PORT).",
        )  # fmt: skip
    for node in facts.nodes:
        if not (node.active and node.synced):
            yield firm(
                name="distribute-engine-node",
                message=f"The node {node} {'does not have the metadata' if node.active else 'is not active'}: it could"
                " not serve the application",
                remedy=f"SELECT citus_activate_node('{node.name}', {node.port}), or citus_remove_node.",
            )  # fmt: skip
    if not any(node.active and node.takes_shards for node in facts.nodes):
        yield firm(
            name="distribute-engine-node", message="No node takes rows of distributed tables",
            remedy="SELECT citus_add_node('NAME', PORT), or citus_set_node_property(…, 'shouldhaveshards', true).",
        )  # fmt: skip
    for one in facts.reached:
        if not one.success:
            yield firm(
                name="distribute-engine-node", message=f"The coordinator does not reach the node {one} as this role",
                remedy="See the server's log there: pg_hba.conf and passwords (~/.pgpass) of this role.",
            )  # fmt: skip
        elif not one.prepared:
            yield firm(
                name="distribute-engine-setting", message=f"max_prepared_transactions is 0 on the node {one}",
                remedy="Set it to at least max_connections, and restart that server.",
            )  # fmt: skip
    if facts.replication_factor != 1:
        yield firm(
            name="distribute-engine-setting",
            message=f"citus.shard_replication_factor is {facts.replication_factor}: each row would be on several nodes",
            remedy="Set it to 1; use streaming replication of each node instead.",
        )  # fmt: skip


def distributed(facts: CitusFacts, columns: dict[Name, str | None]) -> Iterator[Finding]:
    """Tables that others have distributed in another way."""
    for name, column in facts.partitions.items():
        if name in columns and columns[name] != column:
            how = "copied to each node" if column is None else f"distributed by {quoted(column)}"
            yield firm(
                name="distribute-engine-other", table=name, message=f"{name} is {how} already",
                remedy=f"SELECT undistribute_table('{name}'), which drops what depends on it: see docs/scale-out.md.",
            )  # fmt: skip


def outside(tables: Sequence[Name], keys: Sequence[KeyBetween]) -> Iterator[Finding]:
    """Foreign keys between the tables and others, which Citus would convert, too."""
    known = set(tables)
    for key in dict.fromkeys(keys):
        if (key.table in known) != (key.parent in known):
            yield firm(
                name="distribute-refuses-outside-key", table=key.table,
                message=f"The foreign key {quoted(key.key)} of {key.table} to {key.parent} connects a table of the spec"
                " with one that it does not know",
                remedy=f"Put the other table into the spec (shared = true), or ALTER TABLE {key.table} DROP CONSTRAINT"
                f" {quoted(key.key)}.",
            )  # fmt: skip


def owners(schema: Schema, tables: Sequence[Name]) -> Iterator[Finding]:
    """Citus copies rows as the connected role, and so runs code of the owners of tables as that role."""
    for name in tables:
        owner = schema.tables[name].owner
        if owner != schema.user:
            yield firm(
                name="distribute-refuses-owner", table=name,
                message=f"{name} belongs to {owner}, and {schema.user} has more privileges: checks and index"
                f" expressions would run as {schema.user} on all nodes",
                remedy=f"Run this phase as {owner}.",
            )  # fmt: skip


def no_way_back(table: Name, others: Sequence[str]) -> Iterator[Finding]:
    """What depends on a table and would be dropped on the way back."""
    if others:
        yield refused(
            name="distribute-no-way-back", table=table, count=len(others),
            message=f"Citus would drop what depends on {table} when it makes it a plain table again:"
            f" {', '.join(others[:3])}" + (f", and {len(others) - 3} more" if len(others) > 3 else ""),
            remedy="Drop it before a rollback, which is refused otherwise, and create it again afterwards.",
            samples=tuple({"object": one} for one in others[:20]),
        )  # fmt: skip


def sessions(connection: psycopg.Connection[Any], role: str) -> Iterator[Finding]:
    """Sessions that do not have the setting see no row of a distributed table."""
    rows = connection.execute(application_users(role)).fetchall()
    without = [name for _, name, _, value in rows if value != "local"]
    if without and (count := open_sessions(connection, without)):
        yield refused(
            name="distribute-old-sessions", count=count,
            message=f"{count} sessions of {', '.join(without)} do not have {SETTING} = 'local': they would see no row"
            " of a distributed table",
            remedy=f"ALTER ROLE {quoted(without[0])} IN DATABASE … SET {SETTING} = 'local', for each of these roles;"
            " then restart the application.",
        )  # fmt: skip
