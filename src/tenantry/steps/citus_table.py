"""Tables on the nodes of Citus: distributed by their tenant column, or copied to each node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from psycopg import sql

from tenantry.model.name import Name, quoted
from tenantry.model.plan import ExecutionMode, Lock, LockMode, Statement
from tenantry.steps.citus_undistribute import sums, undistribution
from tenantry.steps.introspection import body
from tenantry.steps.naming import StaticNames
from tenantry.steps.step import Before, Step

_SAME_TEXT = tuple(
    sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), sql.Literal(value))
    for name, value in (("TimeZone", "UTC"), ("DateStyle", "ISO, YMD"), ("IntervalStyle", "postgres"),
                        ("extra_float_digits", "1"), ("bytea_output", "hex"))
)  # fmt: skip
"""With these settings a value has one text on all nodes. Each is a message of its own, which Citus passes on."""

_MOVE = sql.SQL("""
DECLARE
  rows_before pg_catalog.text;
  rows_after pg_catalog.text;
BEGIN
  EXECUTE {sums} INTO rows_before;
  PERFORM {move};
  EXECUTE {sums} INTO rows_after;
  IF rows_before <> rows_after THEN
    RAISE EXCEPTION 'the rows of % differ: % before, and % after', {name}, rows_before, rows_after;
  END IF;
END
""")

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

    Its revert makes it a plain table again.
    """

    kind: Literal["distributed_table"] = "distributed_table"
    column: str | None = None
    """The tenant column; None if the table is copied to each node."""
    together_with: Name | None = None
    """A distributed table on whose nodes each tenant's rows are to be; None for the first one."""
    compared = True
    engine = True

    @property
    def key(self) -> str:
        return f"distributed_table:{self.table}"

    @property
    def title(self) -> str:
        return "copy to each node" if self.column is None else f"distribute by {self.column}"

    @property
    def subject(self) -> str:
        return f"The distribution of {self.table}"

    def renamed(self, names: StaticNames) -> DistributeTable:
        return replace(self, column=names.column(self.table, self.column)) if self.column is not None else self

    def definition(self) -> sql.Composable:
        if self.column is None:
            return sql.SQL(
                "SELECT 'on each node' FROM pg_catalog.pg_dist_partition d"
                " WHERE d.logicalrelid = {} AND d.partmethod = 'n' AND d.repmodel = 't'"
            ).format(self.table.oid)
        found = sql.SQL(
            "SELECT pg_catalog.column_to_column_name(d.logicalrelid, d.partkey) FROM pg_catalog.pg_dist_partition d"
            " WHERE d.logicalrelid = {} AND d.partmethod = 'h'"
            " AND pg_catalog.column_to_column_name(d.logicalrelid, d.partkey) = {}"
        ).format(self.table.oid, sql.Literal(self.column))
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

    def apply(self) -> tuple[Statement, ...]:
        move = sql.SQL("pg_catalog.create_reference_table({})").format(self._regclass)
        if self.column is not None:
            beside = "none" if self.together_with is None else self.together_with.identifier.as_string(None)
            move = sql.SQL("pg_catalog.create_distributed_table({}, {}, colocate_with => {})").format(
                self._regclass, sql.Literal(self.column), sql.Literal(beside)
            )
        code = _MOVE.format(sums=sums(self.table), move=move, name=sql.Literal(str(self.table)))
        return self._with_same_text(sql.SQL("DO {}").format(body(code)))

    def _with_same_text(self, statement: sql.Composable, when: sql.Composable | None = None) -> tuple[Statement, ...]:
        locks = (Lock(self.table, LockMode.EXCLUSIVE),)
        return tuple(
            Statement(sql=one, manner=ExecutionMode.ENGINE, locks=locks, when=when) for one in (*_SAME_TEXT, statement)
        )

    def revert(self, before: Before) -> tuple[Statement, ...]:
        when = sql.SQL("SELECT EXISTS ({})").format(_partition(self.table))
        return self._with_same_text(undistribution(self.table), when)


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
