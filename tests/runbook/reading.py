"""The command in a process of its own, whose imports another process has paid for."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import subprocess
import sys
import traceback
from collections.abc import Mapping
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"


def forks() -> ForkServerContext:
    """A server of processes that have imported the command already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tenantry.cli.application"])
    before = os.environ.get("PYTHONPATH")
    # It does not look where this process looks, but where a new one would.
    os.environ["PYTHONPATH"] = str(SOURCES)
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def simple(command: str) -> bool:
    """Whether it is the command alone, and nothing for a shell."""
    return command.startswith("tenantry ") and not set(command) & set("|&;$<>")


def run(context: ForkServerContext, command: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit status and what was printed, on standard output and standard error as they came."""
    if not simple(command):
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout
    printed = folder / ".printed"
    process = context.Process(target=_command, args=(shlex.split(command)[1:], folder, dict(environment), printed))
    process.start()
    process.join(timeout=120)
    assert process.exitcode is not None, f"two minutes were not enough for: {command}"
    text = printed.read_text(encoding="utf-8")
    process.close()
    printed.unlink()
    return _status(text)


def _status(text: str) -> tuple[int, str]:
    printed, _, status = text.rpartition("\n")
    return int(status), printed


def _command(arguments: list[str], folder: Path, environment: dict[str, str], printed: Path) -> None:
    from tenantry.cli.application import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    status: object = 70
    try:
        main(arguments)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(output, f"\n{status}".encode())
