"""What the application may use beside tables: schemas to make objects in, sequences, other servers, large objects."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.checks.isolation.catalog import Catalog, information, listed, texts, warning
from tenantry.execution.preflight.powers import schemas
from tenantry.model.finding import Finding
from tenantry.model.name import Name, quoted


def beside(catalog: Catalog) -> Iterator[Finding]:
    """Nothing of tables: --table asks for no more than those."""
    yield from _sequences(catalog)
    if catalog.ground.tables is None:
        yield from _creating(catalog)
        yield from _servers(catalog)
        yield from _large_objects(catalog)
        yield from _default_privileges(catalog)


def _creating(catalog: Catalog) -> Iterator[Finding]:
    """What it makes there has no policies, and may be found in the place of what others mean. Before 15 everybody may
    in schema public: then nobody has given it to the application."""
    for row in catalog.ask("creating", roles=list(catalog.actors), schemas=list(schemas(catalog.scope))):
        report = information if row["everybody"] else warning
        holder = "PUBLIC" if row["everybody"] else quoted(row["holder"])
        yield report(
            name="application-creates",
            message=f"{row['holder']} may make objects in the {row['kind'].lower()} {row['name']}: they have no"
            " policies, and others may take them for their own",
            remedy=f"REVOKE CREATE ON {row['kind']} {row['name']} FROM {holder}.",
        )  # fmt: skip


def _sequences(catalog: Catalog) -> Iterator[Finding]:
    ground = catalog.ground
    names = {sequence for name in catalog.guarded for sequence in ground.live.tables[name].sequences}
    found = catalog.ask("settable_sequences", roles=list(catalog.actors), names=texts(sorted(names)))
    if found:
        sequences = [Name(row["schema"], row["name"]) for row in found]
        holders = sorted({holder for row in found for holder in row["holders"]})
        who = catalog.role if catalog.role in holders else holders[0]
        yield information(
            name="sequence-settable", count=len(sequences),
            samples=tuple({"sequence": str(one)} for one in sequences[: ground.samples]),
            message=f"{who} may set sequences that all tenants draw from, so that the next row of another fails:"
            f" {listed(sequences)}",
            remedy=f"REVOKE UPDATE ON SEQUENCE {', '.join(map(str, sequences[:3]))} FROM {quoted(who)}, PUBLIC.",
        )  # fmt: skip


def _servers(catalog: Catalog) -> Iterator[Finding]:
    for row in catalog.ask("foreign_servers", roles=list(catalog.actors)):
        mapped = ", where it is somebody without asking (a user mapping)" if row["mapped"] else ""
        yield warning(
            name="foreign-server-usable",
            message=f"{row['holder']} may use the {row['kind'].lower()} {row['name']}{mapped}: other databases, or this"
            " one as somebody else, by tables of its own or by dblink",
            remedy=f"REVOKE USAGE ON {row['kind']} {row['name']} FROM {quoted(row['holder'])}, PUBLIC.",
        )  # fmt: skip


def _large_objects(catalog: Catalog) -> Iterator[Finding]:
    ((count,),) = [tuple(row.values()) for row in catalog.ask("large_objects", roles=list(catalog.actors))]
    if count:
        yield warning(
            name="large-objects-open", count=count,
            message=f"{catalog.role} may read {count:,} large object{'' if count == 1 else 's'}, whichever tenant's"
            " they are: there are no policies for them",
            remedy="Keep them in a bytea column of an owned table, or outside of the database.",
        )  # fmt: skip


def _default_privileges(catalog: Catalog) -> Iterator[Finding]:
    rows = catalog.ask("default_privileges", roles=list(catalog.actors), schemas=list(catalog.ground.schema.schemas))
    for row in rows:
        within = f" IN SCHEMA {quoted(row['schema'])}" if row["schema"] else ""
        yield information(
            name="default-privileges",
            message=f"Tables that {row['role']} makes are open to {row['holder']} at once, before they have policies",
            remedy=f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(row['role'])}{within} REVOKE ALL ON TABLES FROM"
            f" {row['holder'] if row['holder'] == 'PUBLIC' else quoted(row['holder'])}.",
        )  # fmt: skip
