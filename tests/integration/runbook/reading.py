"""A command of the runbook, in a process of its own."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from forked_command import Forks


def simple(command: str) -> bool:
    """Whether it is the command alone, and nothing for a shell."""
    return command.startswith("tenantry ") and not set(command) & set("|&;$<>")


def run(forks: Forks, command: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit status and what was printed, on standard output and standard error as they came."""
    if not simple(command):
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout
    process = forks.start(shlex.split(command)[1:], folder=folder, environment=environment, together=True)
    try:
        printed, _ = process.communicate()
        return process.wait(), printed
    finally:
        process.close()
