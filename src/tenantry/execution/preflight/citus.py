"""What prevents Citus from distributing the tables, and what would be lost on the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import psycopg

from tenantry.execution.preflight.findings import refused, warned
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.model.schema import Kind, Schema, Table
from tenantry.model.wording import counted
from tenantry.planning import Plan
from tenantry.postgres.citus import (
    CitusFacts,
    ConcurrentObstacle,
    Node,
    ReplicationFacts,
    open_sessions,
    read_citus,
    read_concurrent_obstacles,
    read_replication,
    roles_not_settable,
)
from tenantry.postgres.distribution import KeyBetween, read_keys
from tenantry.postgres.owner_context import fenced
from tenantry.steps import Step
from tenantry.steps.citus_setting import SETTING, application_users
from tenantry.steps.citus_undistribute import dependents

firm = partial(refused, forcible=False)
OLDEST, TESTED = 12, 14
"""Major versions of Citus: the oldest with all functions that are used, and the one that the tests run on."""


def citus_findings(
    connection: psycopg.Connection[Any],
    *,
    schema: Schema,
    plan: Plan,
    pending: Sequence[Step],
    concurrently: bool = False,
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
    yield from partitioned([schema.tables[name] for name in tables])
    stored = tuple(part.name for name in tables for part in schema.tree(name))
    yield from outside(stored, read_keys(connection, stored))
    if fenced(connection):
        yield from owners(schema, tables)
    concurrent_moves = {step.table for step in pending if step.concurrent_move is not None}
    for name in tables:
        others = [row[0] for row in connection.execute(dependents(name))]
        yield from no_way_back(name, others, moving=name in concurrent_moves)
    if concurrently:
        yield from blocking(read_concurrent_obstacles(connection, moving(pending)))
    if concurrent_moves:
        yield from replication(read_replication(connection), facts.nodes)
    role = next((step.application for step in plan.steps if step.application is not None), None)
    if role is not None:
        yield from settable(connection, role)
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
    """Tables that others have distributed in another way. Those with one shard may be left of an interrupted run, and
    can be distributed."""
    for name, found in facts.partitions.items():
        if name in columns and (columns[name] is None if found.one_shard else columns[name] != found.column):
            how = "copied to each node" if found.column is None else f"distributed by {quoted(found.column)}"
            if found.one_shard:
                how = "a table of Citus with one shard on the coordinator"
            yield firm(
                name="distribute-engine-other", table=name, message=f"{name} is {how} already",
                remedy=f"SELECT undistribute_table('{name}'), which drops what depends on it: see docs/scale-out.md.",
            )  # fmt: skip


def partitioned(tables: Sequence[Table]) -> Iterator[Finding]:
    """Tables that have the form for Citus, or can get it, and are not distributed yet."""
    for table in tables:
        if table.kind is Kind.PARTITIONED:
            yield firm(
                name="distribute-refuses-partitions", table=table.name,
                message=f"{table.name} is partitioned: tenantry gives it the form that Citus needs, but does not"
                " distribute it yet",
                remedy="`tenantry migrate --until distribute --prepare` stops before that; or copy it into a plain"
                " table.",
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


def no_way_back(table: Name, others: Sequence[str], *, moving: bool = False) -> Iterator[Finding]:
    """What depends on a table and would be dropped on the way back; or at once, if it is `moving` while writers go
    on."""
    if others and moving:
        yield firm(
            name="distribute-no-way-back", table=table, count=len(others),
            message=f"Citus would drop what depends on {table} when it distributes it concurrently:"
            f" {', '.join(others[:3])}" + (f", and {len(others) - 3} more" if len(others) > 3 else ""),
            remedy="Drop it, and create it again afterwards; or leave out --concurrently.",
            samples=tuple({"object": one} for one in others[:20]),
        )  # fmt: skip
    elif others:
        yield refused(
            name="distribute-no-way-back", table=table, count=len(others),
            message=f"Citus would drop what depends on {table} when it makes it a plain table again:"
            f" {', '.join(others[:3])}" + (f", and {len(others) - 3} more" if len(others) > 3 else ""),
            remedy="Drop it before a rollback, which is refused otherwise, and create it again afterwards.",
            samples=tuple({"object": one} for one in others[:20]),
        )  # fmt: skip


def moving(steps: Iterable[Step]) -> dict[Name, str]:
    """The tables that could be distributed while writers go on, with their tenant columns."""
    moves = (step.nonblocking.concurrent_move for step in steps)
    return {move.table: move.column for move in moves if move is not None}


def blocking(obstacles: Iterable[ConcurrentObstacle]) -> Iterator[Finding]:
    """Tables whose writers would have to wait in spite of --concurrently."""
    for one in obstacles:
        remedy = "Copy it into a new table without them, or distribute it at a quiet time."
        if one.dropped:
            why = (
                f"{counted(one.dropped, 'column')} of {one.table} {'was' if one.dropped == 1 else 'were'} dropped, and"
                " Citus's decoder of changes crashes the server on such a table"
            )
        elif one.generated:
            why = (
                f"{counted(one.generated, 'generated column')} of {one.table} {'is' if one.generated == 1 else 'are'}"
                " before its tenant column, and Citus would take another column for it, or crash the server"
            )
        else:
            why = f"{one.table} has no replica identity: changes of its rows cannot be replicated"
            remedy = f"Give it a primary key, or ALTER TABLE {one.table} REPLICA IDENTITY FULL."
        yield refused(
            name="distribute-blocks-writers", table=one.table,
            message=f"{why}. Its writers would wait while it is distributed", remedy=remedy,
        )  # fmt: skip


def replication(nodes: Sequence[ReplicationFacts], places: Sequence[Node]) -> Iterator[Finding]:
    """What logical replication from the coordinator to the nodes needs."""
    needed = sum(node.takes_shards for node in places) + 1
    for node in nodes:
        wanted = list[str]()
        if node.coordinator:
            if node.wal_level != "logical":
                wanted.append(f"wal_level is {node.wal_level}: set it to logical, and restart that server")
            if node.plugins is not None and "citus" not in node.plugins:
                wanted.append("output_plugin_libraries does not name citus: add it, as in 'pgoutput, citus'")
            if node.free_slots < needed:
                wanted.append(f"{node.free_slots} replication slots are free, and {needed} are needed: raise"
                              " max_replication_slots")  # fmt: skip
            if node.free_senders < needed:
                wanted.append(f"{node.free_senders} WAL senders are free, and {needed} are needed: raise"
                              " max_wal_senders")  # fmt: skip
        elif node.free_workers < 1:
            wanted.append("no logical replication worker is free: raise max_logical_replication_workers")
        for problem in wanted:
            what, _, remedy = problem.partition(": ")
            yield firm(
                name="distribute-engine-replication", message=f"On the node {node}, {what}",
                remedy=f"{remedy[0].upper()}{remedy[1:]}; or leave out --concurrently.",
            )  # fmt: skip


def settable(connection: psycopg.Connection[Any], role: str) -> Iterator[Finding]:
    """Roles for which the connected one, which is no superuser, may not set it."""
    rows = connection.execute(application_users(role)).fetchall()
    without = [name for _, name, _, value in rows if value != "local"]
    barred = roles_not_settable(connection, without)
    if barred:
        alter = "; ".join(
            f"ALTER ROLE {quoted(name)} IN DATABASE {quoted(connection.info.dbname)} SET {SETTING} = 'local'"
            for name in barred
        )
        yield firm(
            name="privilege-setting", count=len(barred),
            message=f"{connection.info.user} may not set {SETTING} for {', '.join(barred)}",
            remedy=f"Let a role that may do so (CREATEROLE, and the ADMIN option on these) run: {alter}.",
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
