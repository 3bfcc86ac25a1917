"""Writes the page of tenantry.toml, and its JSON Schema, beside this file: python docs/spec.py"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from tenantry.model.spec import Assign, Part, Spec, TablePart, TenantPart, TenantRowPart

HEAD = """# The spec: tenantry.toml

All sections and keys of a spec. `tenantry discover --output tenantry.toml` writes a first one, with its reasons as
comments. [spec.schema.json](spec.schema.json) is a JSON Schema for editors. Names of tables and columns are written as
in SQL, with quotes where SQL needs them. An unknown key is an error, which names the nearest known key.
"""


def parts() -> Iterator[tuple[str, type[Part]]]:
    """Each part with its heading, in the order of the page."""
    yield "Top-level keys", Spec
    for name, part, several in parts_of_spec():
        yield f"[[{name}]]" if several else f"[{name}]", part
        if part is TablePart:
            yield "assign", Assign
        if part is TenantPart:
            yield "[[tenant.rows]]", TenantRowPart


def keys(part: type[Part]) -> Iterator[tuple[str, str, str]]:
    """Each key of a part: its name, its default and what it says."""
    schema = part.model_json_schema()
    nested = {name for name, _, _ in parts_of_spec()}
    for name, known in schema["properties"].items():
        if part is Spec and name in nested:
            continue
        default = "required" if name in schema.get("required", ()) else _shown(known.get("default"))
        yield name, default, " ".join(known.get("description", "").split())


def parts_of_spec() -> Iterator[tuple[str, type[Part], bool]]:
    """The keys of a spec that are parts, and whether there can be several of each."""
    for name, field in Spec.model_fields.items():
        several = get_args(field.annotation)
        kind = several[0] if several else field.annotation
        if isinstance(kind, type) and issubclass(kind, Part):
            yield name, kind, bool(several)


def _shown(default: Any) -> str:
    return "" if default is None else f"`{json.dumps(default)}`"


def page() -> str:
    """The page as Markdown."""
    lines = [HEAD]
    for heading, part in parts():
        says = " ".join((part.__doc__ or "").split()).partition(": ")[2] if part is not Spec else ""
        lines += [f"## {heading}", ""]
        lines += [*textwrap.wrap(f"{says[:1].upper()}{says[1:]}", 119), ""] if says else []
        lines += ["```toml", textwrap.dedent(part.example).strip(), "```", ""]
        lines += ["| key | default | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | {default} | {says} |" for name, default, says in keys(part)]
        lines.append("")
    return "\n".join(lines)


def schema() -> str:
    """The JSON Schema of a spec."""
    made = Spec.model_json_schema(by_alias=True)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **made}, indent=2) + "\n"


if __name__ == "__main__":
    folder = Path(__file__).parent
    (folder / "spec.md").write_text(page(), encoding="utf-8")
    (folder / "spec.schema.json").write_text(schema(), encoding="utf-8")
