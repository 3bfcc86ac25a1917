"""docs/spec.md and its JSON Schema: made from the models, complete, and true."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tenantry.model.spec import Part, Spec
from tenantry.presets import spec_path

DOCS = Path(__file__).parents[3] / "docs"


def _maker() -> Any:
    found = importlib.util.spec_from_file_location("spec_page", DOCS / "spec.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


MAKER = _maker()
PARTS = list(MAKER.parts())


def test_what_is_there_is_what_is_made() -> None:
    assert (DOCS / "spec.md").read_text() == MAKER.page()
    assert (DOCS / "spec.schema.json").read_text() == MAKER.schema()


@pytest.mark.parametrize(("heading", "part"), PARTS, ids=[heading for heading, _ in PARTS])
def test_each_key_is_explained_and_shown(heading: str, part: type[Part]) -> None:
    """In words, and in an example that is a spec."""
    keys = list(MAKER.keys(part))
    assert all(says.endswith(".") for _, _, says in keys)
    text = textwrap.dedent(part.example)
    spec = text if heading == "[tenant]" else f'{text}\n[tenant]\ntable = "tenants"\n'
    assert Spec.parse(spec)
    jsonschema.validate(tomllib.loads(spec), json.loads(MAKER.schema()))
    assert [name for name, _, _ in keys if name not in text] == []


@pytest.mark.parametrize(("heading", "part"), PARTS, ids=[heading for heading, _ in PARTS])
def test_each_key_is_read(heading: str, part: type[Part]) -> None:
    """Something outside the spec asks for it: no key is accepted and ignored."""
    spec = Path(inspect.getfile(Spec))
    sources = [path.read_text() for path in spec.parents[1].rglob("*.py") if path != spec]
    fields = [name for name in part.model_fields if not (part is Spec and name == "version")]
    assert [name for name in fields if not any(re.search(rf"\.{name}\b", text) for text in sources)] == []


@pytest.mark.parametrize("preset", ["estoque", "enterprise"])
def test_the_schema_takes_the_presets(preset: str) -> None:
    jsonschema.validate(tomllib.loads(spec_path(preset).read_text()), json.loads(MAKER.schema()))


@pytest.mark.parametrize("wrong", ['[tenant]\nkeyy = "x"\ntable = "t"', "version = 2\n[tenant]\ntable = 't'", ""])
def test_the_schema_refuses_what_is_wrong(wrong: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(wrong), json.loads(MAKER.schema()))
