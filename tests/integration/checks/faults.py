"""What can be wrong with a database, planted: every check has its fault, which it finds and no unrelated one does."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from checks import haulage, isolated_tenants, large_tables, presets
from conftest import ROOT
from servers import Database
from tenantry import InspectionOptions, MigrateOptions, inspect, migrate
from tenantry.checks.business import business
from tenantry.checks.families import VALIDATION
from tenantry.model.backup import BackupKind
from tenantry.model.finding import Family, Finding
from tenantry.model.plan import Phase
from tenantry.model.spec import Spec
from tenantry.model.verdict import Verdict
from tenantry.postgres.connect import Target

EVERYTHING = (*VALIDATION, (Family.BUSINESS, business))
"""The families of validate and of verify."""
OF_ROWS = (Family.COMPLETENESS, Family.REFERENCES, Family.BUSINESS)
Found = tuple[str, str, int | None]
"""Name, table and count of a finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Statements that make one thing wrong in the scene `on`, and what is found then.

    `inherent` are findings of other checks that cannot but come with it, and why. `spec` changes the scene's; `role` is
    what a role can that is made and connected as, None for a superuser; `after` undoes what other databases would see.
    """

    on: str
    statements: str
    finds: frozenset[Found]
    inherent: Mapping[Found, str] = field(default_factory=dict)
    spec: Callable[[str], str] = str
    role: str | None = None
    after: str = ""
    pg: str = ""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _, _ in self.finds)


def fault(on: str, statements: str, *finds: Found, **more: object) -> Fault:
    return Fault(on=on, statements=statements, finds=frozenset(finds), **more)  # type: ignore[arg-type]


def made(database: Database) -> None:
    """With a tenant table of ours, and one tenant."""
    database.execute("CREATE TABLE notes (id int PRIMARY KEY); INSERT INTO notes VALUES (1)")
    migrate(Target(database.dsn), Spec.parse(MADE), MigrateOptions(until=Phase.ISOLATE, backup=BackupKind.NONE))


MADE = """
[tenant]
table = "tenants"
create = true
default = "zero"
[application]
role = "made_app"
[[table]]
name = "notes"
assign = { tenant = "zero" }
"""


def members(database: Database) -> None:
    """Rows that belong to tenants through a link table."""
    database.execute(
        """
        CREATE TABLE tenants (id int PRIMARY KEY, slug text UNIQUE);
        CREATE TABLE products (id int PRIMARY KEY);
        CREATE TABLE links (product_id int REFERENCES products, tenant_id int REFERENCES tenants,
                            PRIMARY KEY (tenant_id, product_id));
        INSERT INTO tenants VALUES (1, 'a'), (2, 'b');
        INSERT INTO products VALUES (1), (2), (3);
        INSERT INTO links VALUES (1, 1), (2, 1), (2, 2), (3, 2);
        """
    )
    migrate(Target(database.dsn), Spec.parse(MEMBERS), MigrateOptions(until=Phase.ISOLATE, backup=BackupKind.NONE))


MEMBERS = """
[tenant]
table = "tenants"
[application]
role = "members_app"
[[table]]
name = "products"
membership = "links"
[[table]]
name = "links"
paths = [["tenant_id"]]
"""


def expanded(database: Database) -> None:
    database.execute(haulage.SCHEMA)
    migrate(Target(database.dsn), Spec.parse(haulage.SPEC), MigrateOptions(until=Phase.EXPAND, force=True))


SCENES: Mapping[str, tuple[Callable[[Database], None], str]] = {
    "fleet": (haulage.build, haulage.SPEC),
    "fleet before": (lambda database: database.execute(haulage.SCHEMA), haulage.SPEC),
    "fleet expanded": (expanded, haulage.SPEC),
    "apart": (isolated_tenants.build, isolated_tenants.SPEC),
    "wide": (large_tables.build, large_tables.SPEC),
    "made": (made, MADE),
    "members": (members, MEMBERS),
    **{
        f"rules {preset}{state}": (build(preset), presets.text_of(preset))
        for preset in ("estoque", "enterprise")
        for state, build in (("", presets.loaded), (" migrated", presets.migrated))
    },
}
"""How each is built, and its spec. Nothing is wrong with them."""
ALWAYS = frozenset({"tenants-tried"})
"""What is said of a sound database, too, with another count each time."""


def examined(database: Database, spec: str, dsn: str = "") -> Verdict:
    """What all checks say."""
    return inspect(
        Target(dsn or database.dsn), Spec.parse(spec), EVERYTHING, InspectionOptions(), command="validate", next_step=""
    )


def reported(findings: tuple[Finding, ...]) -> set[Found]:
    """By name, table and count; of a phase by its own name, as the number of its steps says nothing here."""
    phases = {("phase-pending", one.message.split()[2], None) for one in findings if one.name == "phase-pending"}
    others = [one for one in findings if one.name not in ALWAYS | {"phase-pending"}]
    return phases | {(one.name, str(one.table or ""), one.count) for one in others}


def names_of_checks() -> set[str]:
    """Of everything that validate and verify can find: what the sources of the families call a finding or a check."""
    rooms = ROOT / "src" / "tenantry"
    preflight = {"application_role_findings", "function_findings", "view_findings", "powers_of", "_predefined",
                 "_attributes", "_owned"}  # fmt: skip
    found = {name for path in (rooms / "checks").rglob("*.py") for name in _named(path, None)}
    for module in ("rls_bypass", "roles"):
        found |= set(_named(rooms / "execution" / "preflight" / f"{module}.py", preflight))
    return found | names_of_rules()


def names_of_rules() -> set[str]:
    """Of the presets."""
    return {rule.name for preset in ("estoque", "enterprise") for rule in presets.spec_of(preset).rule}


def _named(path: Path, functions: set[str] | None) -> Iterator[str]:
    """The constants that are given as `name` to whatever makes a finding or a check, in these functions of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    within = [tree] if functions is None else [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in functions
    ]  # fmt: skip
    for node in (node for part in within for node in ast.walk(part) if isinstance(node, ast.Call)):
        first = node.args[:1] if isinstance(node.func, ast.Name) and node.func.id == "_error" else []
        for value in (*first, *(keyword.value for keyword in node.keywords if keyword.arg == "name")):
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value
