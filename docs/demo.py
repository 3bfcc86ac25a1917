"""Writes what `tenantry demo` prints into README.md: python docs/demo.py"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- demo -->", "<!-- /demo -->"
_VARIES = re.compile(r"[\d,]+ of [\d,]+ owned rows|[\d,.]+ (?:rows|statements|ms|s)\b| \(and \d+ more\)")
"""What two runs of the demo print differently: rows, times, and what the old application does at a moment."""


def shown(output: str) -> list[str]:
    """The lines without the server's folder, and without progress, which only some runs take long enough to print."""
    return [line for line in output.strip().splitlines()[2:] if not line.startswith("    ")]


def masked(lines: list[str]) -> list[str]:
    """The lines without what varies from run to run."""
    return [_VARIES.sub("…", line) for line in lines]


def in_readme() -> list[str]:
    """The lines that README.md has."""
    return _block()[1].strip().removeprefix("```text\n").removesuffix("\n```").splitlines()


def _block() -> tuple[str, str, str]:
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    block, _, after = rest.partition(END)
    return before, block, after


if __name__ == "__main__":
    environment = os.environ | {"COLUMNS": "200"}
    demo = [sys.executable, "-m", "tenantry", "demo", "--rows", "5000"]
    ran = subprocess.run(demo, env=environment, capture_output=True, text=True, check=True)
    before, _, after = _block()
    text = "\n".join(("```text", *shown(ran.stdout), "```"))
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
