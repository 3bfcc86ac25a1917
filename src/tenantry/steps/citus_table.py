"""Tables on the nodes of Citus: distributed by their tenant column, or copied to each node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.steps.citus_concurrent_move import DROP_ANCHOR, ConcurrentMove
from tenantry.steps.citus_undistribute import column_options, single_shard, sums, undistribution
from tenantry.steps.introspection import body, raw
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, Step

SAME_TEXT = tuple(
    sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value))
    for name, value in (("TimeZone", "UTC"), ("DateStyle", "ISO, YMD"), ("IntervalStyle", "postgres"),
                        ("extra_float_digits", "1"), ("bytea_output", "hex"))
)  # fmt: skip
"""With these settings a value has one text on all nodes. Each is a message of its own, which Citus passes on."""

_MOVE = sql.SQL("""
DECLARE
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
  -- Citus copies rows with COPY, which is refused while policies apply to the role: to an owner, because of FORCE.
  hidden CONSTANT pg_catalog.bool := pg_catalog.row_security_active({oid});
BEGIN
  IF hidden THEN
    EXECUTE {unforce};
  END IF;
  EXECUTE {sums} INTO rows_before;
  PERFORM {move};
  EXECUTE {sums} INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', {name}, rows_before, rows_after;
  END IF;
  IF hidden THEN
    EXECUTE {force};
  END IF;
END
""")
_FORCE = sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY")
_NO_FORCE = sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY")
_DIFFERED = sql.SQL(
    "BEGIN RAISE EXCEPTION USING MESSAGE = pg_catalog.format('the rows of %s differed once it was distributed, and"
    " those from before are in %s', {table}, {kept}), HINT = 'Compare and correct them, drop that table, and run the"
    " same command again.'; END"
)
_CLEAN_UP = sql.SQL("CALL pg_catalog.citus_cleanup_orphaned_resources()")
"""Drops what a failed try has left on the nodes, and the one shard from before."""

_SECURITY = """
WITH pinned AS MATERIALIZED (SELECT pg_catalog.set_config('search_path', 'pg_catalog', true))
SELECT concat_ws(E'\\n', 'row security ' || c.relrowsecurity, 'forced ' || c.relforcerowsecurity,
  (SELECT string_agg(concat_ws(' ', quote_ident(p.polname),
     CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
     p.polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r)::text END
                     FROM unnest(p.polroles) AS r ORDER BY 1),
     'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)),
     E'\\n' ORDER BY p.polname)
   FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
  (SELECT string_agg(concat(CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END, ' ',
     e.privilege_type), E'\\n' ORDER BY CASE e.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END,
     e.privilege_type)
   FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner))
FROM pinned, pg_catalog.pg_class c WHERE c.oid = '%1$s'::pg_catalog.regclass"""
"""Row-level security and privileges of a relation, `%1$s`, as one text."""


def _partition(table: Name) -> sql.Composed:
    return sql.SQL("SELECT FROM pg_catalog.pg_dist_partition d WHERE d.logicalrelid = {}").format(table.oid)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributeTable(Step):
    """Distributes a table over the nodes by its tenant column, or copies it to each node. One transaction moves the
    rows and compares the sum of their hashes before and after; writers of the table wait for it.

    With `concurrently` they go on while an owned table is copied (`ConcurrentMove`). The table first gets one shard on
    the coordinator, in a transaction that moves no row. A run that dies leaves it so; each statement finds out from
    the catalog of Citus whether it is still needed.

    Its revert makes it a plain table again.
    """

    kind: Literal["distributed_table"] = "distributed_table"
    column: str | None = None
    """The tenant column; None if the table is copied to each node."""
    together_with: Name | None = None
    """A distributed table on whose nodes each tenant's rows are to be; None for the first one."""
    concurrently: bool = False
    """Whether writers of the table go on while it is copied."""
    compared = True
    engine = True

    @property
    def key(self) -> str:
        return f"distributed_table:{self.table}"

    @property
    def title(self) -> str:
        if self.column is None:
            return "copy to each node"
        return f"distribute by {self.column}" + (" while writers go on" if self.concurrently else "")

    @property
    def subject(self) -> str:
        return f"The distribution of {self.table}"

    def renamed(self, names: StaticNames) -> DistributeTable:
        return replace(self, column=names.column(self.table, self.column)) if self.column is not None else self

    @property
    def nonblocking(self) -> DistributeTable:
        return replace(self, concurrently=True) if self.column is not None else self

    @property
    def concurrent_move(self) -> ConcurrentMove | None:
        return self._move if self.concurrently else None

    @property
    def _move(self) -> ConcurrentMove | None:
        if self.column is None:
            return None
        return ConcurrentMove(table=self.table, column=self.column, together_with=self.together_with)

    def definition(self) -> sql.Composable:
        if self.column is None:
            return sql.SQL(
                "SELECT 'on each node' FROM pg_catalog.pg_dist_partition d"
                " WHERE d.logicalrelid = {} AND d.partmethod = 'n' AND d.repmodel = 't'"
            ).format(self.table.oid)
        moved = self._move
        assert moved is not None
        found = sql.SQL(
            "SELECT pg_catalog.column_to_column_name(d.logicalrelid, d.partkey) FROM pg_catalog.pg_dist_partition d"
            " WHERE d.logicalrelid = {} AND d.partmethod = 'h'"
            " AND pg_catalog.column_to_column_name(d.logicalrelid, d.partkey) = {} AND {} IS NULL"
        ).format(self.table.oid, sql.Literal(self.column), moved.kept.oid)
        if self.together_with is None:
            return found
        return sql.SQL(
            "{} AND d.colocationid = (SELECT e.colocationid FROM pg_catalog.pg_dist_partition e"
            " WHERE e.logicalrelid = {})"
        ).format(found, self.together_with.oid)

    def wants(self) -> str:
        """Not the statements: a table that was distributed is what is wanted, whichever way it was."""
        return "on each node" if self.column is None else f"by {self.column} with {self.together_with}"

    @property
    def _regclass(self) -> sql.Composed:
        return sql.SQL("{}::pg_catalog.regclass").format(sql.Literal(self.table.identifier.as_string(None)))

    def record(self) -> sql.Composable:
        return sql.SQL("SELECT pg_catalog.jsonb_build_object('options', ({}))").format(column_options(self.table))

    def apply(self) -> tuple[Statement, ...]:
        if self.column is None:
            copy = sql.SQL("pg_catalog.create_reference_table({})").format(self._regclass)
            return self._with_same_text(self._block(copy))
        differed, moved = self._differed(), self._move
        assert moved is not None
        if not self.concurrently:
            return (*differed, *self._with_same_text(self._block(self._create)))
        exclusive = (Lock(self.table, LockMode.ACCESS_EXCLUSIVE),)
        plain = sql.SQL("SELECT NOT EXISTS ({})").format(_partition(self.table))
        hidden = sql.SQL("SELECT NOT EXISTS ({}) AND pg_catalog.row_security_active({})").format(
            self._distributed, self.table.oid
        )
        unforced = sql.SQL(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = {} AND c.relrowsecurity"
            " AND NOT c.relforcerowsecurity)"
        ).format(self.table.oid)
        return (
            *differed,
            Statement(
                sql=single_shard(self.table), manner=ExecutionMode.ENGINE, locks=exclusive, when=plain
            ),
            # Citus copies rows with COPY, which is refused while policies apply to the role: to an owner, because of
            # FORCE. The owner's policy shows it all rows in any case.
            Statement(
                sql=_NO_FORCE.format(self.table.identifier), manner=ExecutionMode.ENGINE, locks=exclusive, when=hidden
            ),
            Statement(
                sql=moved.statement, manner=ExecutionMode.SNAPSHOT, when=moved.one_shard,
                locks=(Lock(self.table, LockMode.SHARE_UPDATE_EXCLUSIVE),),
            ),
            Statement(
                sql=_FORCE.format(self.table.identifier), manner=ExecutionMode.ENGINE, locks=exclusive, when=unforced
            ),
            Statement(sql=_CLEAN_UP, manner=ExecutionMode.CONCURRENT),
        )  # fmt: skip

    @property
    def _create(self) -> sql.Composed:
        beside = "none" if self.together_with is None else self.together_with.identifier.as_string(None)
        return sql.SQL("pg_catalog.create_distributed_table({}, {}, colocate_with => {})").format(
            self._regclass, sql.Literal(self.column), sql.Literal(beside)
        )

    def _block(self, move: sql.Composable) -> sql.Composed:
        identifier = self.table.identifier
        code = _MOVE.format(
            sums=sums(self.table), move=move, name=sql.Literal(str(self.table)), oid=self.table.oid,
            force=sql.Literal(_FORCE.format(identifier).as_string(None)),
            unforce=sql.Literal(_NO_FORCE.format(identifier).as_string(None)),
        )  # fmt: skip
        return sql.SQL("DO {}").format(body(code))

    @property
    def _distributed(self) -> sql.Composed:
        return sql.SQL("{} AND d.partmethod = 'h'").format(_partition(self.table))

    def _differed(self) -> tuple[Statement, ...]:
        assert self._move is not None
        text = _DIFFERED.format(table=sql.Literal(str(self.table)), kept=sql.Literal(str(self._move.kept)))
        return (
            Statement(
                sql=sql.SQL("DO {}").format(body(text)), manner=ExecutionMode.ENGINE, when=self._move.differed
            ),
        )  # fmt: skip

    def _with_same_text(self, statement: sql.Composable, when: sql.Composable | None = None) -> tuple[Statement, ...]:
        locks = (Lock(self.table, LockMode.EXCLUSIVE),)
        return tuple(
            Statement(sql=one, manner=ExecutionMode.ENGINE, locks=locks, when=when) for one in (*SAME_TEXT, statement)
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        when = sql.SQL("SELECT EXISTS ({})").format(_partition(self.table))
        back = self._with_same_text(undistribution(self.table), when)
        # Those that were lost at once, as the table was distributed while writers went on.
        for column, options in (before.get("options") or {}).items():
            lost = sql.SQL(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute t WHERE t.attrelid = {} AND t.attname = {}"
                " AND NOT t.attisdropped AND t.attoptions IS NULL)"
            ).format(self.table.oid, sql.Literal(column))
            restore = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET ({})").format(
                self.table.identifier, sql.Identifier(column), raw(options)
            )
            exclusive = (Lock(self.table, LockMode.EXCLUSIVE),)
            back = (*back, Statement(sql=restore, manner=ExecutionMode.ENGINE, locks=exclusive, when=lost))
        if self.column is None or self.together_with is not None:
            return back
        # Once, in case that a run died which distributed tables concurrently.
        return (*back, Statement(sql=DROP_ANCHOR, manner=ExecutionMode.ENGINE))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyLocalTable(Step):
    """Removes the rows that remain in the coordinator's own file of a distributed table: no query reads them."""

    kind: Literal["local_rows_removed"] = "local_rows_removed"
    engine = True

    @property
    def key(self) -> str:
        return f"local_rows_removed:{self.table}"

    @property
    def title(self) -> str:
        return "remove the rows that the coordinator has besides the shards"

    @property
    def subject(self) -> str:
        return f"The removal of the coordinator's own rows of {self.table}"

    def definition(self) -> sql.Composable:
        return sql.SQL("SELECT 'empty' WHERE EXISTS ({}) AND pg_catalog.pg_relation_size({}) = 0").format(
            _partition(self.table), self.table.oid
        )

    def apply(self) -> tuple[Statement, ...]:
        remove = sql.SQL("SELECT pg_catalog.truncate_local_data_after_distributing_table({}::pg_catalog.regclass)")
        return (
            Statement(
                sql=remove.format(sql.Literal(self.table.identifier.as_string(None))), manner=ExecutionMode.ENGINE,
                locks=(Lock(self.table, LockMode.ACCESS_EXCLUSIVE),),
            ),
        )  # fmt: skip

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckShards(Step):
    """Compares row-level security, policies and privileges of each shard with those of the table: a query is restricted
    by those of the shards."""

    kind: Literal["shards_checked"] = "shards_checked"
    journaled = True
    engine = True
    category = "row security"

    @property
    def key(self) -> str:
        return f"shards_checked:{self.table}"

    @property
    def title(self) -> str:
        return "compare the policies and privileges of its shards on all nodes"

    @property
    def subject(self) -> str:
        return f"The policies and privileges of the shards of {self.table}"

    @property
    def _different(self) -> sql.Composed:
        """A query of the shards that differ."""
        own = _SECURITY.replace("'%1$s'", "{}")
        return sql.SQL(
            "SELECT p.nodename, p.nodeport, p.shardid, p.success, p.result, ({own}) AS wanted"
            " FROM pg_catalog.run_command_on_placements({name}::pg_catalog.regclass, {query}) AS p"
            " WHERE NOT p.success OR p.result IS DISTINCT FROM ({own})"
        ).format(
            name=sql.Literal(self.table.identifier.as_string(None)), query=sql.Literal(_SECURITY),
            own=sql.SQL(own).format(sql.Literal(self.table.identifier.as_string(None))),
        )  # fmt: skip

    def definition(self) -> sql.Composable:
        return sql.SQL("SELECT 'as the table' WHERE EXISTS ({}) AND NOT EXISTS ({})").format(
            _partition(self.table), self._different
        )

    def apply(self) -> tuple[Statement, ...]:
        code = sql.SQL(
            "DECLARE one record; BEGIN FOR one IN {} LOOP"
            " RAISE EXCEPTION USING MESSAGE = pg_catalog.format('shard %s of %s on %s:%s has other policies or"
            " privileges than the table', one.shardid, {}, one.nodename, one.nodeport),"
            " DETAIL = pg_catalog.format(E'The shard:\\n%s\\nThe table:\\n%s', one.result, one.wanted);"
            " END LOOP; END"
        ).format(self._different, sql.Literal(quoted(str(self.table))))
        return (Statement(sql=sql.SQL("DO {}").format(body(code)), manner=ExecutionMode.ENGINE),)

    def revert(self, before: Before) -> tuple[Statement, ...]:
        return ()
