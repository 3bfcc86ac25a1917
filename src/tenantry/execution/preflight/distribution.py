"""The effects of distributing the tables by tenant: what is refused, what changes, what is lost."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import psycopg

from tenantry.execution.preflight.citus import citus_findings
from tenantry.execution.preflight.findings import noted, refused, warned
from tenantry.execution.preflight.sentinel import Mismatch, forbidding, mismatches, taken_by, wanting
from tenantry.execution.preflight.sql_statements import Passage, Relations, passages
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.model.ownership import Owned
from tenantry.model.plan import Phase
from tenantry.model.schema import Schema, Table
from tenantry.model.wording import counted
from tenantry.planning import Plan
from tenantry.planning.context import PlanContext
from tenantry.postgres.citus import allow_repartition_joins, change_shards_in_turn
from tenantry.postgres.distribution import DistributionFacts, Exclusion, OtherPolicy, has_citus, read_distribution
from tenantry.steps import Step
from tenantry.steps.row_security import FLOOR
from tenantry.steps.sentinel import SENTINEL

firm = partial(refused, forcible=False)
"""No engine accepts it, or its form is not supported here: --force does not help."""
SAMPLES = 20
FINDINGS = {
    "distribute-without-engine": (
        "The extension citus, which distributes tables, is missing in this database",
        "`tenantry migrate --until distribute --prepare` gives the tables the form that it asks for, and stops before"
        " it.",
    ),
    "distribute-refuses-membership": (
        "Rows of {table} belong to tenants through a link table: its policies need a subquery, which Citus refuses",
        "Give each row one tenant (paths), or share the table (shared = true).",
    ),
    "distribute-refuses-balances": (
        "Balances of {ledger} are installed: their triggers cannot add up movements of distributed tables",
        "Run `tenantry balances remove`: the ledger stays as it is.",
    ),
    "distribute-refuses-own-trigger": (
        "{subject} is needed: {title}",
        "Leave api_keys out of the spec, which asks for it, and keep API keys elsewhere.",
    ),
    "distribute-refuses-shared-reference": (
        "{table}, which all tenants share, refers by {key} to {parent}, whose rows belong to tenants: a table that is"
        " on every node cannot refer to a distributed one",
        "ALTER TABLE {table} DROP CONSTRAINT {key}; or give its rows tenants.",
    ),
    "distribute-refuses-outside-reference": (
        "{table}, which is not in the spec, refers by {key} to {parent}, whose unique keys all get the tenant",
        "Put the table into the spec, or ALTER TABLE {table} DROP CONSTRAINT {key}.",
    ),
    "distribute-refuses-view-on-key": (
        "The {dependent} depends on the key {key} of {table}, by GROUP BY or by ON CONFLICT ON CONSTRAINT: it would be"
        " dropped with the key",
        "Name all columns that it shows in its GROUP BY, or the columns of the key in its ON CONFLICT.",
    ),
    "distribute-refuses-sentinel": (
        "The rows of {mixed} that belong to all tenants are to get a tenant of their own, with the key {key} and the"
        " slug {slug}: {reason}",
        "{remedy}",
    ),
    "distribute-refuses-mixed-reference": (
        "{rows} of {table} refer to a row of {parent} ({columns}) where only one of the two belongs to all tenants: no"
        " foreign key of distributed tables allows that",
        'Copy those rows for each tenant; or give up the foreign key: [[reference]] from = "{reference}"'
        " crosses = true.",
    ),
    "distribute-refuses-inheritance": (
        "{table} has inheritance children or parents ({relatives}), and no table with INHERITS can be distributed",
        "Make it a partitioned table, or separate tables.",
    ),
    "distribute-refuses-generated": (
        "The tenant column {column} of {table} is generated, and Citus cannot distribute by a generated column",
        "ALTER TABLE {table} ALTER {column} DROP EXPRESSION, once the application writes it.",
    ),
    "distribute-refuses-exclusion": (
        "The {what} {key} of {table} does not compare the tenant column for equality",
        "{remedy}",
    ),
    "distribute-refuses-invalid-index": (
        "The unique index {index} of {table} is not valid: Citus refuses it, as it does not contain the tenant column",
        "REINDEX INDEX CONCURRENTLY {index}; or DROP INDEX CONCURRENTLY {index}.",
    ),
    "distribute-refuses-restrictive-policy": (
        "The policy {policy} of {table} is RESTRICTIVE, which Citus makes PERMISSIVE on every shard: it would show rows"
        " that it is to hide",
        "DROP POLICY {policy} ON {table}; put its condition into the application's queries or into a trigger of your"
        " own.",
    ),
    "distribute-refuses-policy-subquery": (
        "The policy {policy} of {table} has a subquery, which Citus refuses in policies",
        "Write it without one, or drop it.",
    ),
    "distribute-refuses-permissive-policy": (
        "The policy {policy} of {table} applies to the application role: only the restrictive policies {floor} keep it"
        " from showing rows of other tenants, and this phase drops them",
        "DROP POLICY {policy} ON {table}.",
    ),
    "distribute-changes-policy": (
        "The policy {policy} of {table} shows rows of all tenants to {roles}, once the restrictive policies {floor} are"
        " dropped",
        "DROP POLICY {policy} ON {table}, unless these roles are to see them.",
    ),
    "distribute-changes-floor": (
        "The restrictive policies {floor} are dropped, since Citus makes RESTRICTIVE policies PERMISSIVE on every"
        " shard: from then on a permissive policy that is added shows tenants more rows",
        "Let only the operator create policies; `tenantry validate` names each.",
    ),
    "distribute-changes-sentinel": (
        "The rows of {table} that belong to all tenants get the tenant {slug}, with the key {key}, in place of NULL,"
        " and {column} gets NOT NULL: a statement that writes NULL fails; one that does not name {column}, in a session"
        " without a tenant, writes a row of all tenants, as before",
        "Where a statement writes NULL, leave the column out or write {key}; where it reads IS NULL, read = {key}.",
    ),
    "distribute-changes-sequence": (
        "{table}.{column} is filled from a sequence and is not a bigint: a node other than the coordinator could not"
        " number rows",
        "ALTER TABLE {table} ALTER {column} TYPE bigint, before it is distributed.",
    ),
    "distribute-changes-join": (
        "The view {table} joins {joined} without their tenant column: Citus joins distributed tables by it",
        "Join on the tenant column as well.",
    ),
    "distribute-changes-conflict": (
        "In {place}: ON CONFLICT of {table} names no tenant, and its unique keys will all have one",
        "Name {column} in it, before the phase distribute.",
    ),
    "distribute-changes-merge": (
        "In {place}: MERGE INTO {table} is refused under row security on Citus",
        "Write INSERT … ON CONFLICT, or UPDATE.",
    ),
    "distribute-changes-copy": (
        "In {place}: COPY {table} is refused under row security on Citus, or gives no rows without an error",
        "Write INSERT, or run COPY as the owner; read with SELECT.",
    ),
    "distribute-changes-locking": (
        "In {place}: FOR UPDATE of {table} needs its tenant as a literal on Citus", "Add {column} = '…' to its WHERE.",
    ),
    "distribute-changes-nextval": (
        "In {place}: INSERT … SELECT into {table} with nextval() is refused on Citus",
        "Let the column's default number rows.",
    ),
}  # fmt: skip
"""By the finding's name, its message and its remedy, with places for the names and values that it is about."""


def _about(
    name: str, table: Name | None = None, *, count: int | None = None, samples: tuple[Mapping[str, Any], ...] = (),
    **words: object,
) -> Finding:  # fmt: skip
    """One of FINDINGS: refused, unless its name says that it only changes something."""
    message, remedy = (text.format(table=table, **words) for text in FINDINGS[name])
    kind = warned if name.startswith("distribute-changes") else firm
    return kind(name=name, table=table, message=message, remedy=remedy, count=count, samples=samples)


def distribution_findings(
    connection: psycopg.Connection[Any], *, context: PlanContext, plan: Plan, pending: Sequence[Step],
    journaled: Container[str], prepare: bool, concurrently: bool = False,
) -> tuple[Finding, ...]:  # fmt: skip
    """The findings before the phase distribute: without `prepare` one if Citus is missing, and others while steps are
    pending. `journaled` are the keys of steps that are, or were once, applied. `concurrently`: writers are to go on
    while tables are distributed.

    `connection` is one of tenantry.postgres.connect; it only reads.
    """
    found = [] if prepare or has_citus(connection) else [_about("distribute-without-engine")]
    if not prepare and not found:
        found += citus_findings(
            connection, schema=context.schema, plan=plan, pending=pending, concurrently=concurrently
        )
    if any(step.phase is Phase.DISTRIBUTE and not step.engine for step in pending):
        looking = _Looking(schema=context.schema, plan=plan, application=context.spec.application.role)
        facts = read_distribution(connection, looking.names)
        found += [*looking.refusals(facts), *looking.losses(), *looking.changes(facts)]
        new = [step for step in pending if step.key not in journaled]
        if has_citus(connection):
            allow_repartition_joins(connection)
            if not any(step.engine for step in pending):
                change_shards_in_turn(connection)
        found += _of_sentinel(connection, context, new, pending)
    return tuple(sorted(found, key=lambda finding: not finding.refuses))


def _of_sentinel(
    connection: psycopg.Connection[Any], context: PlanContext, new: Sequence[Step], pending: Sequence[Step]
) -> Iterator[Finding]:
    tenant = context.ownership.tenant
    if tenant.sentinel is None:
        return
    row = next((step for step in new if step.tenant_row is not None and step.phase is Phase.DISTRIBUTE), None)
    if row is not None:
        for reason, remedy in (
            *taken_by(connection, context), *wanting(context), *forbidding(connection, context)
        ):  # fmt: skip
            yield _about(
                "distribute-refuses-sentinel", tenant.name, key=repr(tenant.sentinel), slug=repr(SENTINEL),
                reason=reason, remedy=remedy,
                mixed=", ".join(str(owned.table) for owned in context.ownership.owned if owned.mixed),
            )  # fmt: skip
    if not any(step.allotted for step in pending):
        # Else rows are yet to get their tenants.
        yield from map(_mixed_reference, mismatches(connection, context))


def _mixed_reference(one: Mismatch) -> Finding:
    columns = ", ".join(map(quoted, one.key.columns))
    return _about(
        "distribute-refuses-mixed-reference", one.table, count=one.rows, rows=counted(one.rows, "row"),
        parent=one.key.parent, columns=columns, reference=f"{one.table}.{','.join(one.key.columns)}",
        samples=one.samples,
    )  # fmt: skip


class _Looking:
    """The tables of a plan, distributed, or copied to each node."""

    def __init__(self, *, schema: Schema, plan: Plan, application: str) -> None:
        self.schema, self.plan, self.ownership = schema, plan, plan.ownership
        self.owned: dict[Name, Owned] = {owned.table: owned for owned in plan.ownership.owned}
        self.stored = {part.name: owned for name, owned in self.owned.items() for part in schema.tree(name)}
        """The owned tables and their partitions."""
        self.members = {member.table for member in plan.ownership.members}
        copied = [*plan.ownership.shared, plan.ownership.tenant.name]
        self.copied = [name for name in dict.fromkeys(copied) if name in schema.tables]
        self.names = [*self.stored, *sorted(self.members), *self.copied]
        self.steps = [step for step in plan.steps if step.phase is Phase.DISTRIBUTE]
        self.isolated = {*self.stored, plan.ownership.tenant.name}
        """The tables whose policies this phase replaces."""
        self.application = application

    def _tables(self) -> Iterator[tuple[Owned, Table]]:
        for name, owned in self.owned.items():
            yield owned, self.schema.tables[name]

    # --- refused

    def refusals(self, facts: DistributionFacts) -> Iterator[Finding]:
        for owned, table in self._tables():
            yield from self._of_table(owned, table)
        yield from (_about("distribute-refuses-membership", name) for name in sorted(self.members))
        for ledger in sorted({step.keeps.called for step in self.plan.steps if step.keeps is not None}):
            yield _about("distribute-refuses-balances", ledger=ledger)
        ended = {key for step in self.plan.steps for key in step.ends}
        for step in self.plan.steps:
            if step.trigger_function is not None and step.keeps is None and step.key not in ended:
                yield _about("distribute-refuses-own-trigger", step.table, subject=step.subject, title=step.title)
        yield from self._of_references(facts)
        for policy in facts.policies:
            if not policy.permissive:
                yield _about("distribute-refuses-restrictive-policy", policy.table, policy=quoted(policy.policy))
            elif policy.subquery:
                yield _about("distribute-refuses-policy-subquery", policy.table, policy=quoted(policy.policy))
            elif policy.table in self.isolated and self._applies(policy):
                yield _about(
                    "distribute-refuses-permissive-policy", policy.table, policy=quoted(policy.policy), floor=FLOOR
                )  # fmt: skip
        for one in facts.on_keys:
            if one.table in self.stored:
                yield _about(
                    "distribute-refuses-view-on-key", one.table, dependent=one.dependent, key=quoted(one.key)
                )  # fmt: skip
        for exclusion in facts.exclusions:
            yield from self._of_exclusion(exclusion)
        for index in facts.invalid:
            if index.table in self.stored:
                yield _about("distribute-refuses-invalid-index", index.table, index=index.index)

    def _applies(self, policy: OtherPolicy) -> bool:
        """Whether a policy applies to the application role, or to a role that has its privileges."""
        roles = self.schema.roles
        acting = {self.application, *(name for name, role in roles.items() if self.application in role.usage_of)}
        reach = acting.union(*(roles[name].usage_of for name in acting if name in roles))
        return not reach.isdisjoint(policy.roles) or "public" in policy.roles

    def _of_exclusion(self, exclusion: Exclusion) -> Iterator[Finding]:
        owned = self.stored.get(exclusion.table)
        if owned is None or owned.column in exclusion.equal:
            return
        column = quoted(owned.column)
        remedy = f"Create it again with {column} WITH = as first column (extension btree_gist)."
        if exclusion.periods:
            remedy = f"Create it again with {column} as first column."
        yield _about(
            "distribute-refuses-exclusion", exclusion.table, key=quoted(exclusion.key), remedy=remedy,
            what="key WITHOUT OVERLAPS" if exclusion.periods else "exclusion constraint",
        )  # fmt: skip

    def _of_table(self, owned: Owned, table: Table) -> Iterator[Finding]:
        name, column = table.name, quoted(owned.column)
        heirs = [heir.name for heir in self.schema.heirs(name)]
        if relatives := heirs or table.inherits:
            yield _about("distribute-refuses-inheritance", name, relatives=", ".join(map(str, relatives)))
        known = table.column(owned.column)
        if known is not None and known.generated:
            yield _about("distribute-refuses-generated", name, column=column)

    def _of_references(self, facts: DistributionFacts) -> Iterator[Finding]:
        for name in self.copied:
            for key in self.schema.tables[name].foreign_keys:
                if key.parent in self.stored:
                    yield _about(
                        "distribute-refuses-shared-reference", name, key=quoted(key.name), parent=key.parent
                    )  # fmt: skip
        known = {*self.owned, *self.copied}
        for into in facts.keys:
            # A partition or inheritance child is part of its table, for which the finding is.
            apart = into.table not in known and self.ownership.of(into.table) is None
            if into.parent in self.stored and apart:
                yield _about(
                    "distribute-refuses-outside-reference", into.table, key=quoted(into.key), parent=into.parent
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
        yield _about("distribute-changes-floor", floor=FLOOR)
        for policy in facts.policies:
            if policy.permissive and policy.table in self.isolated and not self._applies(policy):
                yield _about(
                    "distribute-changes-policy", policy.table, policy=quoted(policy.policy), floor=FLOOR,
                    roles=", ".join(map(quoted, policy.roles)),
                )  # fmt: skip
        for step in self.steps:
            if step.note and step.gives_up is None:
                yield warned(name="distribute-changes", table=step.table, message=f"{step.table}: {step.note}")
        for owned in self.owned.values():
            if owned.mixed:
                yield _about(
                    "distribute-changes-sentinel", owned.table, slug=repr(SENTINEL), column=quoted(owned.column),
                    key=repr(self.ownership.tenant.sentinel),
                )  # fmt: skip
        for one in facts.narrow:
            if one.table in self.owned:
                yield _about("distribute-changes-sequence", one.table, column=quoted(one.column))
        for view in sorted(self.schema.views.values(), key=lambda one: one.name):
            read = [name for name in view.reads if name in self.owned]
            if len(read) > 1 and not all(self.owned[name].column in view.definition for name in read):
                yield _about("distribute-changes-join", view.name, joined=" and ".join(map(str, read)))
        yield from self._statements(facts)

    def _statements(self, facts: DistributionFacts) -> Iterator[Finding]:
        relations = Relations.of(self.owned)
        found: dict[tuple[str, Name], list[Passage]] = {}
        sources = [(f"a statement of {one.role}", one.text) for one in facts.executed or ()]
        sources += [(f"function {one.signature}", one.source) for one in self.schema.functions]
        sources += [(f"rule {quoted(one.rule)} of {one.table}", one.definition) for one in facts.rules]
        for place, text in sources:
            for passage in passages(place, text):
                for kind, table in self._kinds(relations, passage):
                    found.setdefault((kind, table), []).append(passage)
        for (kind, table), places in sorted(found.items()):
            yield _about(
                f"distribute-changes-{kind}", table, count=len(places), place=places[0].place,
                column=quoted(self.owned[table].column),
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
