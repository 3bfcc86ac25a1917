"""Reports, read back and held against their schema."""

from __future__ import annotations

import csv
import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from tenantry import ReportObserver
from tenantry.execution.events import CommandBegan
from tenantry.model.finding import Finding, Severity
from tenantry.model.name import Name

SCHEMA = json.loads(files("tenantry.reports").joinpath("report.schema.json").read_text(encoding="utf-8"))
Draft202012Validator.check_schema(SCHEMA)
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
HOSTILE = {
    "formula": "=cmd|' /C calc'!A0",
    "plus": "+1+1",
    "at": "@SUM(1)",
    "tab": "\t=1+1",
    "html": "<script>alert(1)</script><img src=http://evil.invalid/x onerror=alert(1)>",
    "quotes": "'\";--` ]]></style></title>",
    "template": "{{ 7 * 7 }}{% raw %}",
    "ansi": "\x1b[2J\x1b[31mred\x1b]0;title\x07\x9b5A\u202eesrever",
    "lines": "one\r\ntwo\u2028three",
}


def refuse_constant(text: str) -> Any:
    raise AssertionError(f"{text} is no JSON")


def read_report(path: Path) -> dict[str, Any]:
    """The report, as strict JSON that its schema describes."""
    report = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse_constant)
    errors = [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(report)]
    assert not errors, errors[:5]
    return dict(report)


def only_report(folder: Path, title: str = "*") -> dict[str, Any]:
    """The one report that there is."""
    (path,) = folder.glob(f"reports/{title}-report-*.json")
    return read_report(path)


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as a spreadsheet would have them."""
    text = path.read_text(encoding="utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def finding(**facts: Any) -> Finding:
    """A finding of which nothing matters but what is given."""
    given = {
        "name": "a-check",
        "severity": Severity.ERROR,
        "message": "A finding",
        "table": Name("public", "t"),
        **facts,
    }
    return Finding(**given)


def reported(folder: Path, **options: Any) -> ReportObserver:
    """A report that has begun."""
    made = ReportObserver(folder, command="validate", **options)
    made(CommandBegan("validate", "20260101000000-0a0b0c0d"))
    return made
