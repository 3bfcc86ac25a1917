"""Cascades of corrections: rows that change with corrected ones, by foreign keys' ON UPDATE and by tenantry's
triggers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from psycopg import sql

from tenantry.checks.base import ROW, CheckContext, column
from tenantry.checks.fixes.plan import FIXED_ROWS, THESE, Image, Repair, difference, image_of
from tenantry.model.name import Name
from tenantry.postgres.fixes import FixJournal
from tenantry.steps import Step, from_json
from tenantry.steps.assignment import Adoption
from tenantry.steps.cascade_trigger import Follower
from tenantry.steps.derivation import equal

DEEPEST = 8
"""The depth to which cascades are followed."""
KEY, ADOPTS, FOLLOWS = (
    "changed by a foreign key's ON UPDATE",
    "parents get their children's tenant",
    "children get their parent's tenant",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Rows of `table` that may change with corrected ones, and `why`: a condition over `t` finds them from the rows
    that THESE selects."""

    table: Name
    image: Image
    rows: sql.Composable
    why: str

    def before(self) -> sql.Composed:
        """Lock them, and store their present values for the fix $3."""
        return sql.SQL(
            'WITH "~carried" AS MATERIALIZED (SELECT {key} AS key, {image} AS before FROM {target} AS t WHERE {rows}'
            " FOR UPDATE OF t)"
            ' INSERT INTO {images} (fix, key, before) SELECT $3::bigint, key, before FROM "~carried"'
        ).format(
            key=self.image.key, image=self.image.values, target=self.image.target, rows=self.rows,
            images=FIXED_ROWS.identifier,
        )  # fmt: skip

    def after(self) -> sql.Composed:
        """The images of the fix $1 whose rows have changed: their ids, and the values before and after, as texts."""
        return sql.SQL(
            "SELECT seen.id, {before}::text, {after}::text FROM"
            " (SELECT i.id, i.before AS was, {image} AS is FROM {images} AS i JOIN {target} AS t ON {match}"
            "  WHERE i.fix = $1::bigint AND i.after IS NULL) AS seen WHERE seen.was <> seen.is"
        ).format(
            images=FIXED_ROWS.identifier, image=self.image.values, target=self.image.target,
            match=self.image.match,
            before=difference(sql.SQL("seen.was"), sql.SQL("seen.is")),
            after=difference(sql.SQL("seen.is"), sql.SQL("seen.was")),
        )  # fmt: skip


def completed() -> sql.Composed:
    """Complete images of the fix $1: ids $2, values before $3, and after $4, as JSON."""
    return sql.SQL(
        "UPDATE {} AS i SET before = n.before::jsonb, after = n.after::jsonb"
        " FROM ROWS FROM"
        " (pg_catalog.unnest($2::bigint[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]))"
        " AS n (id, before, after)"
        " WHERE i.fix = $1::bigint AND i.id OPERATOR(pg_catalog.=) n.id"
    ).format(FIXED_ROWS.identifier)


def unchanged_images() -> sql.Composed:
    """Delete the images of the fix $1 whose rows have not changed."""
    return sql.SQL("DELETE FROM {} AS i WHERE i.fix = $1::bigint AND i.after IS NULL").format(FIXED_ROWS.identifier)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CascadeLink:
    """A link from a row to rows of `table` that change with it: by its columns `own_columns` and their columns
    `their_columns`. `sets` are their columns that change, `only` the columns of the row that cause it."""

    table: Name
    own_columns: tuple[str, ...]
    their_columns: tuple[str, ...]
    operators: tuple[tuple[str, str], ...]
    sets: frozenset[str]
    why: str
    parent: bool = False
    only: sql.Composable = field(default_factory=lambda: sql.SQL("true"), compare=False)

    def meets(self) -> sql.Composed:
        """The condition that `t` is linked to the row `p`; the parent's columns are the left operands."""
        p = sql.Identifier("p")
        if self.parent:
            return equal(ROW, self.their_columns, p, self.own_columns, self.operators)
        return equal(p, self.own_columns, ROW, self.their_columns, self.operators)


class UntrackedChangeError(Exception):
    """A table that a cascade would change has no primary key, so that an undo could not find its rows."""


def carried(context: CheckContext, journal: FixJournal, repair: Repair) -> list[Carried]:
    """All that may change with the rows of a repair, at any depth. Raises UntrackedChangeError."""
    return list(_Walk(context=context, journal=journal, repair=repair).from_repair())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    context: CheckContext
    journal: FixJournal
    repair: Repair

    def from_repair(self) -> Iterator[Carried]:
        values = dict(self.repair.values)
        changed = frozenset(values) | (frozenset() if self.repair.filling else self._tenant(self.repair.table))
        yield from self._follow(self.repair.table, changed, self.repair.image, THESE, values, ())

    def _follow(
        self, table: Name, changed: frozenset[str], image: Image, rows: sql.Composable,
        values: Mapping[str, sql.Composable], path: tuple[_CascadeLink, ...],
    ) -> Iterator[Carried]:  # fmt: skip
        for link in self._links(table, changed, path) if len(path) < DEEPEST else ():
            if link.table not in self.context.live.tables or not image_of(self.context.live, link.table).keys:
                raise UntrackedChangeError(link.table)
            below = image_of(self.context.live, link.table)
            found = sql.SQL("{} AND EXISTS (SELECT FROM ({}) AS p WHERE {})").format(
                link.only, self._rows(image.target, link.own_columns, rows, values), link.meets()
            )
            yield Carried(table=link.table, image=below, rows=found, why=link.why)
            yield from self._follow(
                link.table, link.sets | self._tenant(link.table), below, found, {}, (*path, link)
            )  # fmt: skip

    @staticmethod
    def _rows(
        target: sql.Composable, columns: tuple[str, ...], rows: sql.Composable, values: Mapping[str, sql.Composable]
    ) -> sql.Composed:
        """These columns of the rows, before and after the repair."""
        names = [sql.Identifier(name) for name in columns]
        was = sql.SQL(", ").join(sql.SQL("t.{}").format(name) for name in names)
        query = sql.SQL("SELECT {} FROM {} AS t WHERE {}").format(was, target, rows)
        if values.keys().isdisjoint(columns):
            return query
        becomes = sql.SQL(", ").join(
            sql.SQL("({})").format(values[name]) if name in values else column(name) for name in columns
        )
        return sql.SQL("{} UNION ALL SELECT {} FROM {} AS t WHERE {}").format(query, becomes, target, rows)

    def _tenant(self, table: Name) -> frozenset[str]:
        """The tenant column, which an assignment trigger may set when another column changes."""
        owned = self.context.ownership.of(table)
        return frozenset() if owned is None else frozenset({owned.column})

    def _links(self, table: Name, changed: frozenset[str], path: tuple[_CascadeLink, ...]) -> Iterator[_CascadeLink]:
        for child, hop in self.journal.cascades(table, sorted(changed)):
            pairs = zip(hop.columns, hop.parent_columns, strict=True)
            yield _CascadeLink(
                table=child, own_columns=hop.parent_columns, their_columns=hop.columns, operators=hop.operators,
                why=KEY,
                sets=frozenset(below for below, above in pairs if above in changed),
            )  # fmt: skip
        steps = list(self._steps(table))
        adopting = any(step.adopts for step in steps) or any(one.why == ADOPTS for one in path)
        for step in steps:
            # A backfill cascades only to rows that a ParentTenantTrigger changes, where the backfill's own setting
            # ends.
            ties = [*self._adoptions(step.adopts)]
            if adopting or not self.repair.filling:
                ties += self._followers(step.moves(changed))
            yield from (link for link in ties if link not in path)

    def _steps(self, table: Name) -> Iterator[Step]:
        """Steps of tenantry on the table. The others, of which there may be thousands, are not parsed."""
        stored = {"schema": table.schema, "name": table.name}
        for entry in self.context.entries.values():
            if entry.state == "done" and entry.value.get("table") == stored:
                yield from_json(entry.value)

    def _adoptions(self, adoptions: tuple[Adoption, ...]) -> Iterator[_CascadeLink]:
        for one in adoptions:
            none = sql.SQL("{} IS NULL").format(column(one.parent_column))
            yield _CascadeLink(
                table=one.parent, own_columns=one.columns, their_columns=one.parent_columns, operators=one.operators,
                why=ADOPTS,
                sets=frozenset({one.parent_column}), parent=True, only=none if self.repair.filling else sql.SQL("true"),
            )  # fmt: skip

    @staticmethod
    def _followers(followers: tuple[Follower, ...]) -> Iterator[_CascadeLink]:
        for one in followers:
            yield _CascadeLink(
                table=one.table, own_columns=one.parent_columns, their_columns=one.columns, operators=one.operators,
                why=FOLLOWS,
                sets=frozenset({one.column}),
            )  # fmt: skip
