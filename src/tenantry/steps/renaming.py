"""Steps on tables that were renamed since: the same steps with the present names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from tenantry.model.name import Name
from tenantry.steps.derivation import TenantReference
from tenantry.steps.index import PartitionedIndex, TenantIndex
from tenantry.steps.naming import Renamed, tenant_of
from tenantry.steps.step import Step

Names = Mapping[Name, Name]
"""Earlier names of relations, and their present ones."""
IndexStep = TenantIndex | PartitionedIndex
"""A step that attaches a partition's index has the names of both tables."""


def renamed(step: Step, names: Names) -> Step:
    """The step with the present names in the place of the earlier ones, wherever they occur in it."""
    found: Step = _renamed(step, names)
    return found


def _renamed(value: Any, names: Names) -> Any:
    if isinstance(value, Name):
        return names.get(value, value)
    if isinstance(value, tuple):
        return tuple(_renamed(item, names) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {field.name: _renamed(getattr(value, field.name), names) for field in fields(value)}
        return replace(value, **changes)
    return value


def with_columns(step: Step, names: Renamed) -> Step:
    """The step with other names of columns: its own, those of the tenant table, and those that follow a table's name.
    The step itself replaces all others."""
    changes: dict[str, Any] = {}
    for one in fields(step):
        value = getattr(step, one.name)
        if one.name == "column":
            changes[one.name] = names.column(step.table, value)
        elif isinstance(value, TenantReference):
            changes[one.name] = tenant_of(names, value)
        elif isinstance(value, tuple) and value and all(_is_column(pair) for pair in value):
            changes[one.name] = tuple((table, names.column(table, column)) for table, column in value)
    return replace(step, **changes).renamed(names)


def _is_column(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Name) and isinstance(value[1], str)


def named_in(value: Any) -> Iterator[Name]:
    """Every relation that is named in a value."""
    if isinstance(value, Name):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from named_in(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from named_in(item)


def words_in(value: Any) -> Iterator[str]:
    """Every text in a value that is not part of a relation's name."""
    if isinstance(value, str):
        yield value
    elif is_dataclass(value) and not isinstance(value, Name):
        for field in fields(value):
            yield from words_in(getattr(value, field.name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from words_in(item)


def same_index(made: Step, planned: Step) -> bool:
    """Whether an index of tenantry's is the planned one except for its name, which comes from its table's."""
    if not isinstance(made, IndexStep) or type(made) is not type(planned) or not isinstance(planned, IndexStep):
        return False
    changes: dict[str, Any] = {"index": planned.index, "root": planned.root, "phase": planned.phase}
    if isinstance(planned, TenantIndex):
        changes["reason"] = planned.reason
    return replace(made, **changes) == planned
