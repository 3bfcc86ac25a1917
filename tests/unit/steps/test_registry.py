"""What every kind of step has to say of itself: whoever adds one, and forgets it, hears of it here."""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from importlib import import_module
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from psycopg import sql

from conftest import ROOT
from tenantry.model.name import Name
from tenantry.model.plan import Phase
from tenantry.steps import AnyStep, Step, from_json, to_json
from tenantry.steps.balance import BalanceStep
from tenantry.steps.trigger import RowTrigger
from unit.sources import tree

KINDS: tuple[type[Step], ...] = get_args(get_args(AnyStep)[0])
BARE = {"Backfill", "SentinelFill", "ValidateReferences"}
"""Kinds that leave no object of their own in the database."""
ASKED = {"ApplicationGrants", "AssignedRows", "ValidateForeignKey", "FunctionGrant", "DropGlobalUnique",
         "AttachPartitionIndex", "ApiKeyReader", "DropLegacyPolicies", "SetNotNull", "NotNullCheck", "ValidateNotNullCheck", "ValidateReferences", "ApplicationRole",
         "SchemaUsage", "AddTenantColumn", "TenantRow", "CreateTenantTable", "DropTrigger", "Backfill", "BalanceTable",
         "BalanceFunctions", "BalanceTriggers", "BalanceView", "BalanceReader", "BalanceLeaf", "DropForeignKey",
         "ValidateColocatedKey", "DropUserTrigger", "SentinelRow", "SentinelFill", "DropSharedUnique", "DetachForeignKey",
         "EmptyLocalTable", "ValidateAttachedKey", "CheckShards", "PropagateTenant", "IdentityToDefault"}  # fmt: skip
"""Kinds whose definition says no more than that it is there as it should be, or may become another one without anybody's
doing."""


def own(kind: type[Step], name: str) -> bool:
    """Whether the kind says it itself, and does not leave it at what all steps say."""
    return getattr(kind, name) is not getattr(Step, name)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_says_what_others_ask(kind: type[Step]) -> None:
    """Its object's name; whether it is compared; how many rows hold values in it; a name in the journal of its own."""
    assert own(kind, "subject") or kind.__name__ in BARE, "what does it make?"
    assert kind.compared or kind.__name__ in ASKED, "can its definition be compared?"
    if kind.holds:
        assert own(kind, "values"), "how many rows have their values in it?"
    if kind.preserved:
        assert kind.carries or own(kind, "keep") or kind.journaled, "others stand on what stays"
    names = [next(str(field.default) for field in fields(one) if field.name == "kind") for one in KINDS]  # type: ignore[arg-type]
    assert len(set(names)) == len(names)


def test_no_comparison_by_hand() -> None:
    """Whether a step is wanted otherwise is told from what it wants alone: no kind compares itself with an earlier
    one, and nobody but the comparison looks at the digest."""
    sources = ROOT / "src" / "tenantry"
    compare = {
        "execution/renames.py",
        "execution/runner.py",
        "planning/diff.py",
        "postgres/journal.py",
        "steps/step.py",
    }
    for path in sources.rglob("*.py"):
        nodes = [*ast.walk(tree(path))]
        names = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        assert not names & {"revises", "contradicts"}, path
        looked = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        assert "wanted" not in looked or str(path.relative_to(sources)) in compare, path


# --- nobody outside asks a step of which kind it is

OUTSIDE = [
    path for path in sorted((ROOT / "src" / "tenantry").rglob("*.py"))
    if path.relative_to(ROOT / "src" / "tenantry").parts[0] not in ("steps", "planning")
]  # fmt: skip


def steps_named(module: ast.Module) -> set[str]:
    """The names under which a module has kinds of steps, or unions and tuples of them."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("tenantry"):
            found_in = import_module(node.module)
            for name in node.names:
                if of_steps(getattr(found_in, name.name, None)):
                    found.add(name.asname or name.name)
    return found


def of_steps(value: Any) -> bool:
    if isinstance(value, type) and not isinstance(value, types.GenericAlias):
        return issubclass(value, Step) and value not in (Step, BalanceStep)
    among = value if isinstance(value, tuple | list | set | frozenset | dict) else get_args(value)
    return any(map(of_steps, among))


def asks_kind(module: ast.Module, named: set[str]) -> Iterator[int]:
    """Lines where one of these names, or any step's class, decides."""
    for node in ast.walk(module):
        match node:
            case ast.Call(
                func=ast.Name(id="isinstance" | "issubclass" | "type" | "getattr" | "hasattr"), args=arguments
            ):
                asked: list[ast.AST] = list(arguments)
            case ast.MatchClass(cls=cls):
                asked = [cls]
            case ast.Compare(left=left, comparators=others):
                asked = [left, *others]
            case ast.Dict(keys=keys):
                asked = [key for key in keys if key is not None]
            case ast.Assign(value=ast.Tuple() | ast.List() | ast.Set() | ast.BinOp() as value):
                asked = [value]
            case _:
                continue
        inner = [one for part in asked for one in ast.walk(part)]
        if any(isinstance(one, ast.Name) and one.id in named for one in inner):
            yield node.lineno
        if isinstance(node, ast.Call) and any(isinstance(one, ast.Name) and one.id == "step" for one in inner):
            yield node.lineno
        if isinstance(node, ast.Compare) and any(isinstance(one, ast.Attribute) and one.attr == "kind"
                                                 and isinstance(one.value, ast.Name) and one.value.id == "step"
                                                 for one in inner):  # fmt: skip
            yield node.lineno


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(ROOT / "src" / "tenantry")))
def test_no_switch_on_kinds(path: Any) -> None:
    """What one wants to know of a step, the step says: a new kind is a file of its own, and changes no other."""
    module = tree(path)
    assert list(asks_kind(module, steps_named(module))) == []


@pytest.mark.parametrize(
    "code",
    [
        "if isinstance(one, Backfill): pass",
        "if isinstance(one, Backfill | SetNotNull): pass",
        "match one:\n  case SetNotNull(): pass",
        "if type(one) is Backfill: pass",
        "TITLES = {Backfill: 1}",
        "OF_OWNED = (Backfill, SetNotNull)",
        "if isinstance(step, Anything): pass",
        "if hasattr(step, 'tree'): pass",
        "if step.kind == 'fill': pass",
    ],
)
def test_a_switch_is_seen(code: str) -> None:
    """Each way to ask a step of which kind it is."""
    module = ast.parse(f"from tenantry.steps import Backfill, SetNotNull\n{code}")
    assert list(asks_kind(module, steps_named(module)))


# --- what a step does is what it says

OWN = '"public"."thing"'
"""What every example is about: an object of the user's."""


PARTICULAR = {("AssignedRows", "name"): Name("tenantry", "assigned")}
"""Fields that hold something of ours."""


def example(hint: Any) -> Any:
    """Some value of a type."""
    if get_origin(hint) is Annotated:
        return example(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        return example(next(one for one in get_args(hint) if one is not type(None)))
    if get_origin(hint) is tuple:
        return tuple(example(one) for one in get_args(hint) if one is not Ellipsis)
    if hint is Name:
        return Name("public", "thing")
    if is_dataclass(hint):
        return made(hint, whole=True)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    return {str: "a", bool: True, int: 1, float: 1.0}[hint]


def made(kind: Any, *, whole: bool) -> Any:
    """One of that class; with all its fields, or with those that it must have."""
    hints = get_type_hints(kind, include_extras=True)
    given = {
        field.name: PARTICULAR.get((kind.__name__, field.name)) or example(hints[field.name]) for field in fields(kind)
        if field.name != "kind" and (whole or field.default is MISSING)
    }  # fmt: skip
    return kind(**given | ({"phase": Phase.EXPAND} if "phase" in given else {}))


def everything(kind: type[Step]) -> tuple[Step, ...]:
    return made(kind, whole=False), made(kind, whole=True)


SAID: dict[str, Callable[[Step], bool]] = {
    rf"CREATE TABLE (IF NOT EXISTS )?{OWN}": lambda s: s.makes is not None and s.needs == "CREATE in the schema",
    rf"CREATE (OR REPLACE )?VIEW {OWN}": lambda s: s.makes is not None,
    rf"ALTER TABLE {OWN} OWNER TO": lambda s: s.given_to is not None and s.given_to in s.acts_as,
    r"(DO .*)?ALTER TABLE .* ADD COLUMN": lambda s: (
        s.tenant_column is not None and s.built is not None and s.allotted == (s.table,) and s.table in s.growing
        and s.tenant_table is not None and s.holds
    ),
    rf"CREATE (UNIQUE )?INDEX .* ON (ONLY )?{OWN}": lambda s: (
        s.own_index is not None and s.built is not None and s.needs == "CREATE in the schema" and s.category == "index"
    ),
    r"CREATE (UNIQUE )?INDEX CONCURRENTLY": lambda s: s.indexed is not None,
    r"ALTER INDEX": lambda s: s.own_index is not None,
    r"CREATE ROLE": lambda s: s.needs == "CREATEROLE" and s.application is not None and bool(s.stays) and s.of_role,
    r'GRANT USAGE ON SCHEMA "(?!tenantry)': lambda s: (
        s.needs == "to grant USAGE of the schema" and s.application is not None and s.of_role
    ),
    rf"(GRANT|REVOKE) .* ON TABLE {OWN}": lambda s: own(type(s), "original_grants"),
    rf"ALTER TABLE {OWN} ADD CONSTRAINT .* FOREIGN KEY": lambda s: s.beside is not None and s.category == "constraint",
    rf"ALTER TABLE {OWN} ALTER COLUMN \S+ SET NOT NULL": lambda s: s.refuses_null and own(type(s), "original_table"),
    rf"ALTER TABLE {OWN} DROP CONSTRAINT (?!IF)|DROP INDEX {OWN}": lambda s: (
        own(type(s), "original_table") and own(type(s), "clashes")
    ),
    r"CREATE POLICY": lambda s: bool(s.policies) and s.category == "row security",
    r"CREATE (CONSTRAINT )?TRIGGER": lambda s: s.trigger_function is not None or s.keeps is not None,
    rf"INSERT INTO {OWN}": lambda s: s.tenant_row is not None and bool(s.slugs) and bool(s.stays),
    r"(WITH .*)?UPDATE ONLY": lambda s: s.filling is not None and bool(s.filled) and bool(s.derives) and s.journaled,
}  # fmt: skip
"""What a statement does, and what a step that has it says for that."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_says_what_it_does(kind: type[Step]) -> None:
    """A statement that others have to know of is never hidden in a step that does not say so."""
    for step in everything(kind):
        assert from_json(to_json(step)) == step
        statements = step.apply()
        for statement in statements:
            text = " ".join(statement.text.split())
            for pattern, said in SAID.items():
                assert not re.match(pattern, text) or said(step), f"{pattern}: {text}"
        acting = {statement.acting_as for statement in statements} - {None}
        assert acting <= {*step.acts_as}


def test_every_statement_is_known() -> None:
    """Each of these patterns is met by some step, or it would hold nothing."""
    texts = [" ".join(s.text.split()) for kind in KINDS for step in everything(kind) for s in step.apply()]
    assert [pattern for pattern in SAID if not any(re.match(pattern, text) for text in texts)] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_records_an_object(kind: type[Step]) -> None:
    """What a step records is a JSON object: the journal refuses to be read with anything else in it."""
    for step in everything(kind):
        record = step.record()
        assert record is None or "jsonb_build_object(" in sql.Composed([record]).as_string()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_answers_of_its_sort(kind: type[Step]) -> None:
    """A trigger's function has an owner who must reach what it looks at; what has a ledger keeps its
    balances; and no field of a kind stands in the way of what all steps say."""
    names = {field.name for field in fields(kind)}
    if issubclass(kind, RowTrigger):
        assert all(step.trigger_function is not None and [*step.reaches()] for step in everything(kind)[1:])
    assert issubclass(kind, BalanceStep) == ("ledger" in names)
    for step in everything(kind):
        assert ("ledger" in names) == (step.keeps is not None)
    said = {name for name in vars(Step) if not name.startswith("_")} - {"phase", "table"}
    assert not names & said
