"""The effects of distributing the tables by tenant: what is refused, what changes, what is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import psycopg

from tenantry.execution.preflight.findings import noted, refused, warned
from tenantry.execution.preflight.sql_statements import Passage, Relations, passages
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.model.ownership import Owned
from tenantry.model.plan import Phase
from tenantry.model.schema import Kind, Schema, Table
from tenantry.planning import Plan
from tenantry.postgres.distribution import DistributionFacts, has_citus, read_distribution
from tenantry.steps import Step
from tenantry.steps.row_security import FLOOR

firm = partial(refused, forcible=False)
"""No engine accepts it, or its form is not supported here: --force does not help."""
SAMPLES = 20


def distribution_findings(
    connection: psycopg.Connection[Any],
    *,
    schema: Schema,
    plan: Plan,
    pending: Sequence[Step],
    prepare: bool,
) -> tuple[Finding, ...]:
    """The findings before the phase distribute: without `prepare` one about that, and others while steps are pending.

    `connection` is one of tenantry.postgres.connect; it only reads.
    """
    found = [] if prepare else [_unprepared(has_citus(connection))]
    if any(step.phase is Phase.DISTRIBUTE for step in pending):
        looking = _Looking(schema=schema, plan=plan)
        facts = read_distribution(connection, looking.names)
        found += [*looking.refusals(facts), *looking.losses(), *looking.changes(facts)]
    return tuple(sorted(found, key=lambda finding: not finding.refuses))


def _unprepared(extension: bool) -> Finding:
    message = "The extension citus is there, and tenantry does not distribute tables itself yet"
    if not extension:
        message = "The extension citus, which distributes tables, is missing in this database"
    return firm(
        name="distribute-without-engine", message=message,
        remedy="`tenantry migrate --until distribute --prepare` gives the tables the form that it asks for, and stops"
        " before it.",
    )  # fmt: skip


class _Looking:
    """The tables of a plan, distributed, or copied to each node."""

    def __init__(self, *, schema: Schema, plan: Plan) -> None:
        self.schema, self.plan, self.ownership = schema, plan, plan.ownership
        self.owned: dict[Name, Owned] = {owned.table: owned for owned in plan.ownership.owned}
        self.members = {member.table for member in plan.ownership.members}
        copied = [*plan.ownership.shared, plan.ownership.tenant.name]
        self.copied = [name for name in dict.fromkeys(copied) if name in schema.tables]
        self.names = [*self.owned, *sorted(self.members), *self.copied]
        self.steps = [step for step in plan.steps if step.phase is Phase.DISTRIBUTE]

    def _tables(self) -> Iterator[tuple[Owned, Table]]:
        for name, owned in self.owned.items():
            yield owned, self.schema.tables[name]

    # --- refused

    def refusals(self, facts: DistributionFacts) -> Iterator[Finding]:
        for owned, table in self._tables():
            yield from self._of_table(owned, table)
        for name in sorted(self.members):
            yield firm(
                name="distribute-refuses-membership", table=name,
                message=f"Rows of {name} belong to tenants through a link table: its policies need a subquery, which"
                " Citus refuses",
                remedy="Give each row one tenant (paths), or share the table (shared = true).",
            )  # fmt: skip
        for ledger in sorted({step.keeps.called for step in self.plan.steps if step.keeps is not None}):
            yield firm(
                name="distribute-refuses-balances",
                message=f"Balances of {ledger} are installed: their triggers cannot add up movements of distributed"
                " tables",
                remedy="Run `tenantry balances remove`: the ledger stays as it is.",
            )  # fmt: skip
        ended = {key for step in self.plan.steps for key in step.ends}
        for step in self.plan.steps:
            if step.trigger_function is not None and step.keeps is None and step.key not in ended:
                yield firm(
                    name="distribute-refuses-own-trigger", table=step.table,
                    message=f"{step.subject} is needed: {step.title}",
                    remedy="Leave api_keys out of the spec, which asks for it, and keep API keys elsewhere.",
                )  # fmt: skip
        for name in self.copied:
            for key in self.schema.tables[name].foreign_keys:
                if key.parent in self.owned:
                    yield firm(
                        name="distribute-refuses-shared-reference", table=name,
                        message=f"{name}, which all tenants share, refers by {quoted(key.name)} to {key.parent}, whose"
                        " rows belong to tenants: a table that is on every node cannot refer to a distributed one",
                        remedy=f"ALTER TABLE {name} DROP CONSTRAINT {quoted(key.name)}; or give its rows tenants.",
                    )  # fmt: skip
        known = {*self.owned, *self.copied}
        for into in facts.keys_to:
            # A partition or inheritance child is part of its table, for which the finding is.
            apart = into.table not in known and self.ownership.of(into.table) is None
            if into.parent in self.owned and apart:
                yield firm(
                    name="distribute-refuses-outside-reference", table=into.table,
                    message=f"{into.table}, which is not in the spec, refers by {quoted(into.key)} to"
                    f" {into.parent}, whose unique keys all get the tenant",
                    remedy="Put the table into the spec, or"
                    f" ALTER TABLE {into.table} DROP CONSTRAINT {quoted(into.key)}.",
                )  # fmt: skip
        yield from self._of_policies(facts)
        for one in facts.on_keys:
            if one.table in self.owned:
                yield firm(
                    name="distribute-refuses-view-on-key", table=one.table,
                    message=f"The view {one.view} groups by the key {quoted(one.key)} of {one.table} and shows other"
                    " columns of it: it would be dropped with the key",
                    remedy="Name all these columns in its GROUP BY.",
                )  # fmt: skip

    def _of_table(self, owned: Owned, table: Table) -> Iterator[Finding]:
        name = table.name
        if owned.mixed:
            yield firm(
                name="distribute-refuses-mixed", table=name,
                message=f"Rows of {name} without a tenant belong to all tenants: Citus refuses rows without a tenant,"
                " and tenantry does not give them a tenant of their own yet",
                remedy="Give each row a tenant, or move the rows of all tenants into a shared table.",
            )  # fmt: skip
        heirs = [heir.name for heir in self.schema.heirs(name)]
        if heirs or table.inherits:
            yield firm(
                name="distribute-refuses-inheritance", table=name,
                message=f"{name} has inheritance children or parents ({', '.join(map(str, heirs or table.inherits))}),"
                " and no table with INHERITS can be distributed",
                remedy="Make it a partitioned table, or separate tables.",
            )  # fmt: skip
        column = table.column(owned.column)
        if column is not None and column.generated:
            yield firm(
                name="distribute-refuses-generated", table=name,
                message=f"The tenant column {quoted(owned.column)} of {name} is generated, and Citus cannot"
                " distribute by a generated column",
                remedy=f"ALTER TABLE {name} ALTER {quoted(owned.column)} DROP EXPRESSION, once the application"
                " writes it.",
            )  # fmt: skip
        if table.kind is Kind.PARTITIONED:
            yield firm(
                name="distribute-refuses-partitions", table=name,
                message=f"{name} is partitioned, and the keys of partitions cannot be replaced without a lock for as"
                " long as its rows are read",
                remedy="Copy it into a plain table, or do not distribute it yet.",
            )  # fmt: skip
        keys = [unique for unique in table.uniques if owned.column not in unique.columns]
        for unique in (one for one in keys if one.exclusion):
            yield firm(
                name="distribute-refuses-exclusion", table=name,
                message=f"The exclusion constraint {quoted(unique.name)} of {name} does not include the tenant column",
                remedy=f"Create it again with {quoted(owned.column)} WITH = as first column (extension btree_gist).",
            )  # fmt: skip

    def _of_policies(self, facts: DistributionFacts) -> Iterator[Finding]:
        for policy in facts.policies:
            name = f"The policy {quoted(policy.policy)} of {policy.table}"
            if not policy.permissive:
                yield firm(
                    name="distribute-refuses-restrictive-policy", table=policy.table,
                    message=f"{name} is RESTRICTIVE, which Citus makes PERMISSIVE on every shard: it would show rows"
                    " that it is to hide",
                    remedy=f"DROP POLICY {quoted(policy.policy)} ON {policy.table}; put its condition into the"
                    " application's queries or into a trigger of your own.",
                )  # fmt: skip
            elif policy.subquery:
                yield firm(
                    name="distribute-refuses-policy-subquery", table=policy.table,
                    message=f"{name} has a subquery, which Citus refuses in policies",
                    remedy="Write it without one, or drop it.",
                )  # fmt: skip

    # --- lost

    def losses(self) -> Iterator[Finding]:
        """What the phase drops without a replacement: --force accepts it."""
        for step in self.steps:
            if step.gives_up is not None:
                message, remedy = step.gives_up
                yield refused(name="distribute-loses", table=step.table, message=message, remedy=remedy)

    # --- changes

    def changes(self, facts: DistributionFacts) -> Iterator[Finding]:
        yield warned(
            name="distribute-changes-floor",
            message=f"The restrictive policies {FLOOR} are dropped, since Citus makes RESTRICTIVE policies PERMISSIVE"
            " on every shard: from then on a permissive policy that is added shows tenants more rows",
            remedy="Let only the operator create policies; `tenantry validate` names each.",
        )  # fmt: skip
        for step in self.steps:
            if step.note and step.gives_up is None:
                yield warned(name="distribute-changes", table=step.table, message=f"{step.table}: {step.note}")
        for one in facts.narrow:
            if one.table in self.owned:
                yield warned(
                    name="distribute-changes-sequence", table=one.table,
                    message=f"{one.table}.{quoted(one.column)} is filled from a sequence and is not a bigint: a node"
                    " other than the coordinator could not number rows",
                    remedy=f"ALTER TABLE {one.table} ALTER {quoted(one.column)} TYPE bigint, before it is distributed.",
                )  # fmt: skip
        yield from self._views()
        yield from self._statements(facts)

    def _views(self) -> Iterator[Finding]:
        for view in sorted(self.schema.views.values(), key=lambda one: one.name):
            read = [name for name in view.reads if name in self.owned]
            if len(read) > 1 and not all(self.owned[name].column in view.definition for name in read):
                yield warned(
                    name="distribute-changes-join", table=view.name,
                    message=f"The view {view.name} joins {' and '.join(map(str, read))} without their tenant column:"
                    " Citus joins distributed tables by it",
                    remedy="Join on the tenant column as well.",
                )  # fmt: skip

    def _statements(self, facts: DistributionFacts) -> Iterator[Finding]:
        relations = Relations.of(self.owned)
        found: dict[tuple[str, Name], list[Passage]] = {}
        sources = [(f"a statement of {one.role}", one.text) for one in facts.executed or ()]
        sources += [(f"function {one.signature}", one.source) for one in self.schema.functions]
        for place, text in sources:
            for passage in passages(place, text):
                for kind, table in self._kinds(relations, passage):
                    found.setdefault((kind, table), []).append(passage)
        for (kind, table), places in sorted(found.items()):
            says, remedy = STATEMENTS[kind]
            yield warned(
                name=f"distribute-changes-{kind}", table=table, count=len(places),
                message=f"In {places[0].place}: {says.format(table=table)}",
                remedy=remedy.format(column=quoted(self.owned[table].column)),
                samples=tuple({"place": one.place, "text": " ".join(one.words)[:200]} for one in places[:SAMPLES]),
            )  # fmt: skip
        if facts.executed is None:
            yield noted(
                name="statements-unknown",
                message="The application's statements are not known: pg_stat_statements is missing or hidden",
                remedy="CREATE EXTENSION pg_stat_statements some days ahead, or search the code for ON CONFLICT,"
                " MERGE, COPY and FOR UPDATE.",
            )  # fmt: skip

    def _kinds(self, relations: Relations, passage: Passage) -> Iterator[tuple[str, Name]]:
        mentioned = dict.fromkeys(relations.mentioned(passage))
        for position in passage.after("on", "conflict"):
            words = set(passage.words[position:])
            for target in (name for at in passage.after("insert", "into") for name in relations.at(passage, at)):
                if self.owned[target].column not in words and "constraint" not in words and "(" in words:
                    yield "conflict", target
        for position in passage.after("merge", "into"):
            yield from (("merge", name) for name in relations.at(passage, position))
        for position in passage.after("copy"):
            yield from (("copy", name) for name in relations.at(passage, position))
        # Not FOR KEY SHARE: the checks of foreign keys, which pg_stat_statements has as well, use that.
        if any(any(passage.after("for", one)) for one in ("update", "share", "no")) and "select" in passage.words:
            yield from (("locking", name) for name in mentioned)
        if "nextval" in passage.words and "select" in passage.words:
            for position in passage.after("insert", "into"):
                yield from (("nextval", name) for name in relations.at(passage, position))


STATEMENTS = {
    "conflict": (
        "ON CONFLICT of {table} names no tenant, and its unique keys will all have one",
        "Name {column} in it, before the phase distribute.",
    ),
    "merge": ("MERGE INTO {table} is refused under row security on Citus", "Write INSERT … ON CONFLICT, or UPDATE."),
    "copy": (
        "COPY {table} is refused under row security on Citus, or gives no rows without an error",
        "Write INSERT, or run COPY as the owner; read with SELECT.",
    ),
    "locking": (
        "FOR UPDATE of {table} needs its tenant as a literal on Citus", "Add {column} = '…' to its WHERE."
    ),
    "nextval": (
        "INSERT … SELECT into {table} with nextval() is refused on Citus", "Let the column's default number rows."
    ),
}  # fmt: skip
"""By kind, the message for a statement on a table, and the remedy."""
