"""Standard output and standard error, also when they are closed, full, or of an old encoding."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

from tenantry.errors import ExitStatus


class Output(io.TextIOWrapper):
    """A stream that reports every write error, such as a full disk, as a BrokenPipeError. The run goes on then;
    `problem` is the error, unless the reader has just gone away."""

    problem: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._lost(error)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> NoReturn:
        if not isinstance(error, BrokenPipeError):
            self.problem = error
        # Otherwise the buffer's rest would be written again at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        raise BrokenPipeError(error.errno, error.strerror) from error


def make_ready() -> None:
    """Open both streams if they are closed; make them UTF-8, except on a terminal, and let them replace characters that
    they cannot encode."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Uses the lowest free descriptor: the stream's own, which no file or connection can get then.
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 (open until the process ends)
        if isinstance(stream, io.TextIOWrapper):
            encoding, lines = stream.encoding if stream.isatty() else "utf-8", stream.line_buffering
            stream = Output(stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=lines)
        setattr(sys, name, stream)


def ended(status: ExitStatus) -> ExitStatus:
    """The exit status, considering that standard output may be incomplete."""
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    problem = getattr(sys.stdout, "problem", None)
    if problem is None or status not in (ExitStatus.DONE, ExitStatus.FINDINGS):
        return status
    print(
        f"tenantry: standard output cannot be written: {problem.strerror}. The command itself was executed.",
        file=sys.stderr,
    )
    return ExitStatus.FAILED
