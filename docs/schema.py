"""Writes the JSON Schema of reports, beside this file and into the package: python docs/schema.py"""

from __future__ import annotations

import json
from pathlib import Path

from tenantry.reports.report import Report

NAME = "report.schema.json"
PACKAGED = Path(__file__).parents[1] / "src" / "tenantry" / "reports" / NAME


def schema() -> str:
    """The schema as text, made from the models that reports are written with."""
    made = Report.model_json_schema(mode="serialization")
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **made}, indent=2) + "\n"


if __name__ == "__main__":
    for path in (Path(__file__).with_name(NAME), PACKAGED):
        path.write_text(schema(), encoding="utf-8")
