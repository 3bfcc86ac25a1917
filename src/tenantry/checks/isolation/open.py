"""Tables and views that no policy holds, and that the application may use: what came after the plan, above all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from tenantry.checks.isolation.catalog import Catalog, Held, error, listed, warning
from tenantry.execution.preflight.rls_bypass import SECURE_VIEWS
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted
from tenantry.model.schema import Kind, View
from tenantry.planning.isolate import WRITES
from tenantry.steps import from_json
from tenantry.steps.introspection import JOURNAL_SCHEMA


def open_relations(catalog: Catalog) -> Iterator[Finding]:
    """In the spec's schemas whatever it does not say to be shared is an error; beyond them it knows nothing."""
    rows = catalog.ask("open_relations", roles=list(catalog.actors), privileges=["SELECT", *WRITES, "TRUNCATE"])
    shows = _Shows(catalog)
    for row in rows:
        name = Name(row["schema"], row["name"])
        held = Held(privileges=tuple(row["privileges"]), holders=tuple(row["holders"]))
        if not _wanted(catalog, name) or name in shows.ours:
            continue
        match row["kind"]:
            case "v" | "m":
                yield from _view(catalog, shows, name, held)
            case _:
                yield from _table(catalog, name, held, row)


def _wanted(catalog: Catalog, name: Name) -> bool:
    """--table of none wants all; a view goes with what it reads."""
    view = catalog.ground.schema.views.get(name)
    if catalog.ground.tables is None or view is None:
        return catalog.wants(name)
    return any(_wanted(catalog, read) for read in view.reads if read != name)


def _table(catalog: Catalog, name: Name, held: Held, row: dict[str, Any]) -> Iterator[Finding]:
    ground, who = catalog.ground, catalog.holders(held)
    if name in catalog.scope.guarded:
        if not row["secured"]:
            yield error(
                name="table-open", table=name, count=len(held.privileges),
                message=f"{who} has {', '.join(held.privileges)} on {name}, whose row security is not enabled",
                remedy="`tenantry migrate` gives it the policies.",
            )  # fmt: skip
        return
    kept = ground.entries.get(f"row_security:{name}")
    if row["secured"] and kept is not None and kept.state == "done":
        return  # Ours are there, although the spec does not ask for them any more.
    whole = ground.live.whole(name) if name in ground.live.tables else name
    if {name, whole, ground.ownership.heirs.get(name, name)} & set(ground.ownership.shared):
        return
    if row["kind"] == Kind.FOREIGN and name in ground.live.tables:
        return  # A finding of its own.
    known = name.schema in (*ground.schema.schemas, JOURNAL_SCHEMA)
    what = (
        "which holds what tenantry keeps of all tenants"
        if name.schema == JOURNAL_SCHEMA
        else "which has no policies of ours"
    )
    say = "" if name.schema == JOURNAL_SCHEMA else "; or give it paths, or shared = true, in the spec"
    say = say if known else f"; or add {quoted(name.schema)} to the spec's schemas and say there whose its tables are"
    yield (error if known else warning)(
        name="table-open", table=name, count=len(held.privileges),
        message=f"{who} has {', '.join(held.privileges)} on {name}, {what}",
        remedy=f"REVOKE ALL ON {name} FROM {quoted(who)}, PUBLIC{say}.",
    )  # fmt: skip


class _Shows:
    """Which views show more than whoever reads them may see."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._views = catalog.ground.schema.views
        self._stored = {view.name for view in catalog.scope.views if view.kind is Kind.MATERIALIZED_VIEW}
        done = (from_json(entry.value) for entry in catalog.ground.entries.values())
        self.ours = frozenset(step.makes for step in done if step.keeps is not None and step.makes is not None)
        """Views of balances, which look at the tenant themselves."""
        self.all = cache(self._all)

    def _all(self, name: Name) -> bool:
        """Whether a relation that is read by somebody's right shows the rows of all."""
        ground = self._catalog.ground
        if name in self._stored or name in ground.ownership.undecided:
            return True
        view = self._views.get(name)
        return view is not None and self.by_owner(view) and any(self._read(view, read) for read in view.reads)

    def by_owner(self, view: View) -> bool:
        """Whether what it reads is read by its owner's right. One that asks for its reader's is as if it stood in the
        query itself, wherever it is read."""
        invoker = view.invoker and self._catalog.scope.schema.major >= SECURE_VIEWS
        return view.kind is Kind.MATERIALIZED_VIEW or not invoker

    def _read(self, view: View, name: Name) -> bool:
        scope = self._catalog.scope
        if name in scope.guarded:
            return scope.bypasses(view.owner) or scope.has(view.owner, scope.operators | scope.legacy)
        return name != view.name and self.all(name)


def _view(catalog: Catalog, shows: _Shows, name: Name, held: Held) -> Iterator[Finding]:
    view = catalog.ground.schema.views.get(name)
    if view is None or not shows.all(name) or "SELECT" not in held.privileges:
        return
    who = catalog.holders(held)
    if view.kind is Kind.MATERIALIZED_VIEW:
        yield error(
            name="materialized-view-granted", table=name,
            message=f"{who} may read the materialised view {name}, of rows that no policy holds back any more",
            remedy=f"REVOKE ALL ON {name} FROM {quoted(who)}, PUBLIC.",
        )  # fmt: skip
        return
    secure = catalog.scope.schema.major >= SECURE_VIEWS
    again = (
        f"ALTER VIEW {name} SET (security_invoker = true)"
        if secure
        else f"REVOKE ALL ON {name} FROM {quoted(who)}, PUBLIC"
    )
    yield error(
        name="view-reads-as-owner", table=name,
        message=f"{who} may read the view {name}, which reads {listed(view.reads)} as {view.owner}, past all policies",
        remedy=f"{again}.",
    )  # fmt: skip
