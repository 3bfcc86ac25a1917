"""Distributing a table while its writers go on, and the proof that no row was lost.

Citus copies the rows, and applies by logical replication what is written meanwhile. At the end it makes writers wait,
applies the rest, and commits. Just before that commit, a second session takes a snapshot on all nodes. The rows that
were copied, and those on the nodes, are both compared in that snapshot later, while writers go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from psycopg import sql

from tenantry.model.name import JOURNAL_SCHEMA, Name, hashed
from tenantry.steps.citus_undistribute import row_sums

WAITING, TAKEN = 1952805732, 1952805733
"""The first keys of two advisory locks; the second is the process number of the session that distributes. It waits for
the first one, which the second session has, and finds the other one only if that session has its snapshot."""
ANCHOR = Name(JOURNAL_SCHEMA, "snapshot_anchor")
"""An empty table with a shard on each node, for which a query opens a transaction there."""


@dataclass(frozen=True, kw_only=True)
class ConcurrentMove:
    """A table with one shard on the coordinator, which is split over the nodes by `column`."""

    table: Name
    column: str
    together_with: Name | None = None

    @cached_property
    def kept(self) -> Name:
        """Where the rows from before are kept if those on the nodes differ."""
        return Name(JOURNAL_SCHEMA, hashed(f"before_distribution_{self.table.name}", str(self.table)))

    @property
    def differed(self) -> sql.Composed:
        """A query of one boolean: whether the rows once differed, and nobody has dropped those that were kept."""
        return sql.SQL("SELECT {} IS NOT NULL").format(self.kept.oid)

    @property
    def one_shard(self) -> sql.Composed:
        """A query of one boolean: whether the table has one shard on the coordinator."""
        return sql.SQL("SELECT EXISTS ({})").format(_ONE_SHARD.format(self.table.oid))

    @property
    def shard(self) -> sql.Composed:
        """A query of the name of that shard, as SQL. Citus leaves out the schema public."""
        return sql.SQL(
            "SELECT pg_catalog.format('%I.%I', {}::pg_catalog.text, i.parts[pg_catalog.array_upper(i.parts, 1)])"
            " FROM pg_catalog.pg_dist_shard s CROSS JOIN LATERAL"
            " pg_catalog.parse_ident(pg_catalog.shard_name(s.logicalrelid, s.shardid)) AS i (parts)"
            " WHERE s.logicalrelid = {}"
        ).format(sql.Literal(self.table.schema), self.table.oid)

    @property
    def statement(self) -> sql.Composed:
        """Distributes the table. It waits, before it commits, until the second session has its snapshot, and fails if
        there is none."""
        beside = "none" if self.together_with is None else self.together_with.identifier.as_string(None)
        return _MOVE.format(
            table=sql.Literal(self.table.identifier.as_string(None)), column=sql.Literal(self.column),
            beside=sql.Literal(beside), waiting=sql.Literal(WAITING), taken=sql.Literal(TAKEN),
        )  # fmt: skip

    @property
    def rows_after(self) -> sql.Composed:
        """A query of one text: number and sum of hashes of the rows on the nodes."""
        return row_sums(self.table.identifier)

    @staticmethod
    def rows_before(shard: sql.Composable) -> sql.Composed:
        """The same of the rows in the one shard from before."""
        return row_sums(shard)

    @property
    def misplaced(self) -> sql.Composed:
        """A query of the number of rows that are in another shard than that of their tenant: there, a query by the
        tenant would not find them. NULL if a node was not reached."""
        code = _MISPLACED.replace("{column}", sql.Identifier(self.column).as_string(None).replace("%", "%%"))
        return sql.SQL(
            "SELECT CASE WHEN pg_catalog.bool_and(p.success) THEN pg_catalog.sum(p.result::pg_catalog.int8) END"
            " FROM pg_catalog.run_command_on_placements({}::pg_catalog.regclass, {}) AS p"
        ).format(sql.Literal(self.table.identifier.as_string(None)), sql.Literal(code))

    def keep(self, shard: sql.Composable) -> sql.Composed:
        """Keeps the rows from before."""
        return sql.SQL("CREATE TABLE {} AS SELECT * FROM {}").format(self.kept.identifier, shard)


_MISPLACED = """
SELECT pg_catalog.count(*) FROM %1$s AS t WHERE (pg_catalog.worker_hash(t.{column}) BETWEEN
  (SELECT d.shardminvalue::pg_catalog.int4 FROM pg_catalog.pg_dist_shard d
   WHERE pg_catalog.to_regclass(pg_catalog.shard_name(d.logicalrelid, d.shardid)) = '%1$s'::pg_catalog.regclass)
  AND (SELECT d.shardmaxvalue::pg_catalog.int4 FROM pg_catalog.pg_dist_shard d
   WHERE pg_catalog.to_regclass(pg_catalog.shard_name(d.logicalrelid, d.shardid)) = '%1$s'::pg_catalog.regclass)
) IS NOT TRUE"""
"""On a node, of one shard, `%1$s`. Each node knows which hash values belong to a shard."""
_ONE_SHARD = sql.SQL(
    "SELECT FROM pg_catalog.pg_dist_partition d WHERE d.logicalrelid = {} AND d.partmethod = 'n' AND d.repmodel = 's'"
)
_MOVE = sql.SQL(
    "SELECT pg_catalog.create_distributed_table_concurrently({table}::pg_catalog.regclass, {column},"
    " colocate_with => {beside}),"
    " pg_catalog.pg_advisory_xact_lock({waiting}, pg_catalog.pg_backend_pid()),"
    " (CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND l.granted"
    " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"
    " AND l.classid = {taken} AND l.objid = pg_catalog.pg_backend_pid()::pg_catalog.oid AND l.objsubid = 2)"
    " THEN 'true' ELSE 'no second session has a snapshot of the rows' END)::pg_catalog.bool"
)
WAITS = sql.SQL(
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype = 'advisory' AND NOT l.granted"
    " AND l.pid = {pid} AND l.classid = {waiting} AND l.objid = {pid} AND l.objsubid = 2)"
)
"""Whether the session with a process number waits for the second one."""
DROP_ANCHOR = sql.SQL("DROP TABLE IF EXISTS {}").format(ANCHOR.identifier)
MAKE_ANCHOR = (
    sql.SQL("CREATE TABLE {} (node int)").format(ANCHOR.identifier),
    sql.SQL(
        "SELECT pg_catalog.create_distributed_table({}::pg_catalog.regclass, 'node', colocate_with => 'none',"
        " shard_count => (SELECT pg_catalog.count(*)::int FROM pg_catalog.pg_dist_node))"
    ).format(sql.Literal(ANCHOR.identifier.as_string(None))),
)
ON_ALL_NODES = sql.SQL("SELECT pg_catalog.count(*) FROM {}").format(ANCHOR.identifier)
"""Opens a transaction, and takes its snapshot, on each node."""
