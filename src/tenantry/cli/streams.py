"""Standard output and standard error, whatever they are: closed, full, or of an old encoding."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

from tenantry.errors import ExitStatus


class Output(io.TextIOWrapper):
    """A stream that tells all that keeps it from being written, such as a full disk, as it tells a reader that has gone
    away: by BrokenPipeError. The run goes on then; `problem` is what a reader's going away is not."""

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
        # What is in the buffer still would be tried again when the process ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        raise BrokenPipeError(error.errno, error.strerror) from error


def make_ready() -> None:
    """Have both streams, as UTF-8 but on a terminal, and such that no character is too much for them."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Takes the lowest number that is free: the stream's own, which no file or connection can have then.
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 (open until the process ends)
        if isinstance(stream, io.TextIOWrapper):
            encoding, lines = stream.encoding if stream.isatty() else "utf-8", stream.line_buffering
            stream = Output(stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=lines)
        setattr(sys, name, stream)


def ended(status: ExitStatus) -> ExitStatus:
    """The exit status, given that not all of standard output may have been written."""
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
