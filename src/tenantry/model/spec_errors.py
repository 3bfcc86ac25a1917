"""The errors in a spec file, in its own terms: the key's place, what is valid there, and its value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from tenantry.errors import nearest


def sentences(error: ValidationError, document: dict[str, Any], root: type[BaseModel]) -> Iterator[str]:
    """A sentence for each problem that pydantic found in `document`, read as `root`."""
    for problem in error.errors():
        place, model, value = _place(problem["loc"], document, root)
        message = problem["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list, in [ ]")
        if problem["type"] == "extra_forbidden":
            key = str(problem["loc"][-1])
            yield f"{place}: the key {key!r} is unknown{nearest(key, model)}"
        elif problem["type"] == "missing":
            yield f"{place}: this key is missing"
        else:
            said = f"{place}: {message}" if place else message
            yield said + (f" (it is {value!r})" if isinstance(value, str | int | float | bool) else "")


def _place(location: tuple[int | str, ...], document: Any, root: type[BaseModel]) -> tuple[str, list[str], Any]:
    """The place of the key in words, the keys that are valid there, and its value."""
    words: list[str] = []
    model: type[BaseModel] | None = root
    valid: list[str] = []
    for part in location:
        if isinstance(part, int):
            named = document[part] if isinstance(document, list) and part < len(document) else None
            label = named.get("name") if isinstance(named, dict) else None
            if words[-1].startswith("["):
                words[-1] = f"[{words[-1]}]"  # an array of tables
            words[-1] += f" {label!r}" if label else f" number {part + 1}"
            document = named
            continue
        fields = model.model_fields if model else {}
        valid = [field.alias or name for name, field in fields.items()]
        words.append(f"[{part}]" if not words and isinstance(document, dict) else str(part))
        model = _part(fields[part].annotation) if part in fields else None
        document = document.get(part) if isinstance(document, dict) else None
    return " ".join(words), valid, document


def _part(annotation: Any) -> type[BaseModel] | None:
    """The model of a field: its type, or the type of the elements of a list or of an option."""
    models = (
        one for one in (annotation, *get_args(annotation)) if isinstance(one, type) and issubclass(one, BaseModel)
    )
    return next(models, None)
