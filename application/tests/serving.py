"""The service of examples/enterprise: its database, made once for all tests, and itself as a process."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from servers import Database

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "enterprise"
PATHS = os.pathsep.join(str(ROOT / path) for path in ("application/src", "src", "examples/enterprise"))

ROLE = "example_app"
MADE: dict[str, Any] = {}
"""What was made with the template: keys, and the organisations."""


@cache
def prepare() -> Any:
    spec = importlib.util.spec_from_file_location("example_prepare", EXAMPLE / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(database: Database) -> None:
    MADE.update(prepare().prepare(database.dsn, role=ROLE, rows=60))


@contextmanager
def uvicorn(application: str, folder: Path, *options: str, **environment: str) -> Iterator[str]:
    """Serve it on a port of its own; yields its address. What it has said is shown where the test fails."""
    command = [sys.executable, "-m", "uvicorn", application, "--app-dir", str(folder), "--port", "0", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": PATHS, "PYTHONUNBUFFERED": "1", **environment},
    )  # fmt: skip
    with ended(process) as reading:
        yield address(process, reading)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[list[threading.Thread]]:
    """End it with the block, and whoever reads what it says."""
    reading: list[threading.Thread] = []
    assert process.stdout is not None
    try:
        yield reading
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for thread in reading:
            thread.join(5)
        process.stdout.close()


def address(process: subprocess.Popen[str], reading: list[threading.Thread]) -> str:
    """Where it serves, as it says; the rest of what it says is read, so that it never waits to say it."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        found = re.search(r"running on (http://[\d.]+:\d+)", line)
        if found:
            reading.append(threading.Thread(target=lambda: [print(more, end="") for more in process.stdout or ()]))
            reading[0].start()
            return found[1]
    raise AssertionError("it ended:\n" + "".join(said))
