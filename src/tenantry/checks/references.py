"""References: does every row refer to an existing row of its own tenant, along every path?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from psycopg import sql

from tenantry.checks.base import PARENT, ROW, Check, CheckContext, QueryCheck, ReferenceCheck, column, missing
from tenantry.checks.enforcement import enforcement
from tenantry.checks.unfilled import unfilled_tables
from tenantry.model.finding import Family, Finding, Severity
from tenantry.model.name import Name, quoted
from tenantry.model.ownership import Hop, Path
from tenantry.model.schema import ForeignKey, Table
from tenantry.steps.derivation import equal, of_all_tenants


def references(context: CheckContext) -> Iterator[Check | Finding]:
    """Every foreign key, declared or named by the spec, and every derivation path."""
    yield from enforcement(context)
    waiting = unfilled_tables(context)
    for table, path, label in _paths(context):
        if all(hop.unique for hop in path.hops):
            yield from _joined(context, table, path, label, waiting)
        else:
            yield from _searched(context, table, path, label)
    for known in context.schema.tables.values():
        if context.wants(known.name) and context.has(known.name):
            yield from _not_valid(known)
            yield from _cycles(context, known)
    yield from _circles(context)


# --- which


def _paths(context: CheckContext) -> Iterator[tuple[Name, Path, str]]:
    """All that can be followed from a table, each once: its table, its columns, and its label."""
    found: dict[tuple[Name, tuple[tuple[tuple[str, ...], Name], ...]], tuple[Name, Path, str]] = {}
    for table, path, label in _all_paths(context):
        steps = tuple((hop.columns, hop.parent) for hop in path.hops)
        if context.wants(table) and _exists(context, table, path):
            found.setdefault((table, steps), (table, path, label))
    yield from found.values()


def _all_paths(context: CheckContext) -> Iterator[tuple[Name, Path, str]]:
    for table in context.schema.tables.values():
        for key in table.foreign_keys:
            if not key.inherited:
                yield table.name, Path(hops=(_hop(key),)), f"the foreign key {quoted(key.name)}"
    for name, key in context.ownership.references:
        path = Path(hops=(_hop(key),))
        yield name, replace(path, hops=(replace(path.hops[0], unique=_unique(context, key)),)), "reference of the spec"
    for unit in context.planning.units():
        for path in unit.owned.paths:
            if not (unit.owned.has_own_column and path.columns == (unit.owned.column,) and len(path.hops) == 1):
                yield unit.name, path, "the path"


def _hop(key: ForeignKey) -> Hop:
    operators = key.operators or (("pg_catalog", "="),) * len(key.columns)
    return Hop(columns=key.columns, parent=key.parent, parent_columns=key.parent_columns, operators=operators)


def _unique(context: CheckContext, key: ForeignKey) -> bool:
    parent = context.schema.tables.get(key.parent)
    return parent is not None and any(
        set(unique.columns) == set(key.parent_columns) and not unique.partial for unique in parent.uniques
    )


def _exists(context: CheckContext, table: Name, path: Path) -> bool:
    at = table
    for hop in path.hops:
        if not (context.has(at, *hop.columns) and context.has(hop.parent, *hop.parent_columns)):
            return False
        at = hop.parent
    return True


# --- rows


def _joined(context: CheckContext, table: Name, path: Path, label: str, waiting: frozenset[Name]) -> Iterator[Check]:
    columns, owned = ", ".join(map(quoted, path.columns)), context.ownership.of(table)
    # Whether a row's tenant exists is a matter of completeness.
    names_tenant = owned is not None and path.columns == (owned.column,)
    if len(path.hops) == 1 and not names_tenant:
        yield Check(
            name="dangling-reference", family=Family.REFERENCES, table=table, subject=str(path),
            message=f"{{rows}} of {table} whose ({columns}) does not exist in {path.target} ({label})",
            remedy="Correct the reference, or insert the missing row.",
            shows=tuple((name, column(name)) for name in path.columns),
            question=ReferenceCheck(path=path, violates=_dangling(path.hops[0])),
        )  # fmt: skip
    yield from _agreement(context, table, path, label, waiting)


def _dangling(hop: Hop) -> sql.Composed:
    given = [sql.SQL("{} IS NOT NULL").format(column(name)) for name in hop.columns]
    return sql.SQL(" AND ").join([*given, missing(hop)])


def _agreement(context: CheckContext, table: Name, path: Path, label: str, waiting: frozenset[Name]) -> Iterator[Check]:
    """The row's tenant is that of the row at the path's end, unless that one is shared."""
    owned, theirs = context.ownership.of(table), _tenant_at_end(context, path)
    if owned is None or theirs is None or not context.has(table, owned.column) or path.columns == (owned.column,):
        return
    if context.ownership.crosses(table, path.columns):
        return
    own, derived_tenant = column(owned.column), column(theirs, PARENT)
    yield Check(
        name="tenant-differs", family=Family.REFERENCES, table=table, subject=str(path),
        message=f"{{rows}} of {table} with another tenant than the row of {path.target} that they refer to"
        f" ({label}: {' > '.join(', '.join(hop.columns) for hop in path.hops)})",
        remedy="Run `tenantry validate --fix-issues`, which sets the tenant where all paths agree; else correct the"
        " reference.",
        shows=(
            *((name, column(name)) for name in path.columns),
            (owned.column, own), (f"{path.target.name}.{theirs}", derived_tenant),
        ),
        question=ReferenceCheck(
            path=path, violates=_differs(own, derived_tenant, shared=owned.mixed and owned.table not in waiting)
        ),
    )  # fmt: skip


def _differs(own: sql.Composable, derived_tenant: sql.Composable, *, shared: bool) -> sql.Composed:
    """A row without a tenant is a matter of completeness, except that it would be `shared`: then all see it."""
    operator = "{there} IS NOT NULL AND {own} IS DISTINCT FROM {there}" if shared else "{own} <> {there}"
    return sql.SQL(operator).format(own=own, there=derived_tenant)


def _tenant_at_end(context: CheckContext, path: Path) -> str | None:
    """The tenant column of the last table; None if it has none, or none yet."""
    tenant, parent = context.ownership.tenant, context.ownership.of(path.target)
    if path.target == tenant.name:
        return tenant.key if context.has(tenant.name, tenant.key) else None
    return parent.column if parent is not None and context.has(path.target, parent.column) else None


def _searched(context: CheckContext, table: Name, path: Path, label: str) -> Iterator[Check]:
    """Of the several rows that it may refer to, one must be of its own tenant, or shared."""
    if any(hop.parent in context.hidden for hop in path.hops):
        return
    owned, theirs = context.ownership.of(table), _tenant_at_end(context, path)
    agree: sql.Composable = sql.SQL("")
    crosses = context.ownership.crosses(table, path.columns)
    if owned is not None and theirs is not None and context.has(table, owned.column) and not crosses:
        parent = context.ownership.of(path.target)
        same = sql.SQL("{} = {}").format(column(owned.column), column(theirs, PARENT))
        if parent is not None and parent.mixed:
            tenant = context.ownership.tenant
            shared = of_all_tenants(column(theirs, PARENT), tenant.sentinel, tenant.type)
            same = sql.SQL("({} OR {})").format(same, shared)
        agree = sql.SQL(" AND ({} IS NULL OR {})").format(column(owned.column), same)
    given = [sql.SQL("{} IS NOT NULL").format(column(name)) for name in path.columns]
    shown = dict.fromkeys((*context.schema.tables[table].primary_key, *path.columns))
    yield Check(
        name="dangling-reference", family=Family.REFERENCES, table=table, subject=str(path),
        message=f"{{rows}} of {table} whose ({', '.join(map(quoted, path.columns))}) does not exist in {path.target}"
        + (", or only in another tenant" if agree.as_string(None) else "") + f" ({label})",
        remedy="Correct the reference, or insert the missing row.",
        question=QueryCheck(
            query=sql.SQL("SELECT {} FROM {} AS t WHERE {} AND NOT EXISTS (SELECT {}{})").format(
                sql.SQL(", ").join(column(name) for name in shown), context.live.as_referenced(table),
                sql.SQL(" AND ").join(given), _chain(context, path), agree,
            )
        ),
    )  # fmt: skip


def _chain(context: CheckContext, path: Path) -> sql.Composed:
    """FROM and WHERE of the rows along a path."""
    found, conditions, at = [], [], ROW
    for number, hop in enumerate(path.hops, start=1):
        alias = PARENT if number == len(path.hops) else sql.Identifier(f"h{number}")
        found.append(sql.SQL("{} AS {}").format(context.live.as_referenced(hop.parent), alias))
        conditions.append(equal(alias, hop.parent_columns, at, hop.columns, hop.operators))
        at = alias
    return sql.SQL("FROM {} WHERE {}").format(sql.SQL(", ").join(found), sql.SQL(" AND ").join(conditions))


# --- keys


def _not_valid(table: Table) -> Iterator[Finding]:
    """A key that is NOT ENFORCED cannot be validated."""
    for key in table.foreign_keys:
        if key.enforced and not key.validated:
            yield Finding(
                name="foreign-key-not-valid", family=Family.REFERENCES, severity=Severity.WARNING, table=table.name,
                message=f"The foreign key {quoted(key.name)} of {table.name} to {key.parent} is not validated",
                remedy=f"ALTER TABLE {table.name} VALIDATE CONSTRAINT {quoted(key.name)}.",
            )  # fmt: skip


# --- circles


def _cycles(context: CheckContext, table: Table) -> Iterator[Check]:
    """Rows of a table that refers to itself: following the references must not lead back."""
    keys = [*table.foreign_keys, *(key for name, key in context.ownership.references if name == table.name)]
    for key in keys:
        if key.parent == table.name and context.has(table.name, *key.columns, *key.parent_columns):
            required = all((found := table.column(name)) is not None and found.not_null for name in key.columns)
            yield Check(
                name="reference-cycle", family=Family.REFERENCES, table=table.name, subject=key.name,
                message=f"{{rows}} of {table.name} whose ({', '.join(map(quoted, key.columns))}) form circles, counting"
                " one row of each circle",
                remedy=f"Set one reference of the circle to {'' if required else 'NULL, or to '}another row; if such"
                ' rows are intended, accept the finding in the spec: [[accept]] check = "reference-cycle".',
                question=QueryCheck(query=_circling(context, table, key)),
            )  # fmt: skip


def _circling(context: CheckContext, table: Table, key: ForeignKey) -> sql.Composed:
    """A circle is found from its smallest row: its reference leads to a larger one, and the walk never visits smaller
    ones. So if all references lead to smaller rows, as in numbered rows, it takes one scan."""
    source, shown = context.live.as_referenced(table.name), table.primary_key or key.parent_columns
    plain = all(schema == "pg_catalog" for schema, _ in key.operators)

    def values(columns: tuple[str, ...], alias: str) -> sql.Composed:
        form = "{}.{}" if plain else '{}.{}::text COLLATE "C"'
        return sql.SQL(", ").join(sql.SQL(form).format(sql.Identifier(alias), sql.Identifier(name)) for name in columns)

    start, at = (
        tuple(f"{word}{number}" for number, _ in enumerate(key.columns)) for word in ("start", "at")
    )  # fmt: skip
    names = sql.SQL(", ").join(map(sql.Identifier, (*start, *at)))
    return sql.SQL(
        "WITH RECURSIVE walk ({names}) AS ("
        "SELECT {own}, {theirs} FROM {source} AS t WHERE ROW({theirs}) >= ROW({own})"
        " UNION SELECT {begun}, {theirs} FROM walk AS w JOIN {source} AS t ON {met}"
        " WHERE ROW({there}) > ROW({begun}) AND ROW({theirs}) >= ROW({begun}))"
        " SELECT {shown} FROM {source} AS t WHERE EXISTS (SELECT FROM walk AS w"
        " WHERE ROW({there}) = ROW({begun}) AND ROW({own}) = ROW({begun}))"
    ).format(
        names=names, own=values(key.parent_columns, "t"), theirs=values(key.columns, "t"), source=source,
        begun=sql.SQL(", ").join(sql.Identifier("w", name) for name in start),
        there=sql.SQL(", ").join(sql.Identifier("w", name) for name in at),
        met=sql.SQL("ROW({}) = ROW({})").format(
            values(key.parent_columns, "t"), sql.SQL(", ").join(sql.Identifier("w", name) for name in at)
        ),
        shown=sql.SQL(", ").join(column(name) for name in dict.fromkeys((*shown, *key.columns))),
    )  # fmt: skip


def _circles(context: CheckContext) -> Iterator[Finding]:
    """Tables that refer to each other in a circle: not an error, but their rows cannot be inserted one after the
    other."""
    import networkx as nx

    graph: nx.DiGraph[Name] = nx.DiGraph()
    for table in context.schema.tables.values():
        graph.add_edges_from((table.name, key.parent) for key in table.foreign_keys if key.parent != table.name)
    for circle in nx.strongly_connected_components(graph):
        if len(circle) > 1 and any(context.wants(name) for name in circle):
            names = sorted(circle)
            yield Finding(
                name="circular-foreign-keys", family=Family.REFERENCES, severity=Severity.INFO, table=names[0],
                message=f"Foreign keys form a circle between {', '.join(map(str, names))}",
                remedy="Nothing to do if that is intended; deferrable keys allow inserting such rows in any order.",
            )  # fmt: skip
