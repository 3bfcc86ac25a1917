"""The log of a run: one JSON object a line, flushed at once, without secrets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from tenantry import private_files
from tenantry.errors import UsageError
from tenantry.reports.document import plain, to_json
from tenantry.reports.text import bounded

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

MASK = "****"
TITLES = {"migrate": "migration", "validate": "validation", "verify": "verification", "backups": "backup"}
"""What the files of a command are called, where they are not called like the command."""
OURS = ("time", "level", "event", "run", "command")
"""What no outside text comes into, and a short password would only make unreadable."""
LONGEST = 10_000
"""Characters of one value that a line of the log holds."""


def title(command: str) -> str:
    """What the log and the reports of a command are called: `migration` of `migrate`."""
    first = command.split()[0]
    return TITLES.get(first, first)


class Log:
    """A log file that is made with its first line: `FOLDER/migration-RUN.log`."""

    def __init__(self, folder: Path, *, command: str, run: str, secrets: Sequence[str] = ()) -> None:
        self.folder = folder
        self.command = command
        self.run = run
        self.secrets = tuple(secrets)
        self._file: TextIO | None = None
        self._logger: FilteringBoundLogger | None = None

    @property
    def path(self) -> Path:
        return self.folder / f"{title(self.command)}-{self.run}.log"

    def name(self, run: str) -> None:
        """Call the file by the id of a run; one that has a line already keeps its name."""
        if not self.written:
            self.run = run

    @property
    def written(self) -> bool:
        """Whether the file has a line."""
        return self._file is not None

    def write(self, event: str, *, level: str = "info", **facts: Any) -> None:
        """Add a line. Raises UsageError where the file cannot be made."""
        logger = self._logger or self._open()
        getattr(logger, level)(event, **{name: plain(value) for name, value in facts.items()})

    def failure(self, error: BaseException, **facts: Any) -> None:
        """Add a line with the traceback of an error that nobody expected."""
        logger = self._logger or self._open()
        trace: tuple[type[BaseException], BaseException, TracebackType | None] = (
            type(error), error, error.__traceback__,
        )  # fmt: skip
        logger.error("unexpected", exc_info=trace, **facts)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> FilteringBoundLogger:
        try:
            private_files.make_folder(self.folder)
            # Line by line, so that `tail -f` follows it and a kill loses nothing.
            self._file = private_files.create(self.path)
        except OSError as error:
            raise UsageError(
                f"The log {self.path} cannot be written: {error.strerror or error}",
                remedy="Name a folder that you can write to: --log-dir PATH.",
            ) from error
        # Only who writes a log waits for the import.
        import structlog

        bound = structlog.wrap_logger(
            structlog.PrintLogger(self._file),
            wrapper_class=structlog.make_filtering_bound_logger(0),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                structlog.processors.format_exc_info,
                self._mask,
                structlog.processors.JSONRenderer(serializer=lambda line, **_: to_json(line)),
            ],
        )
        self._logger = bound.bind(run=self.run, command=self.command)
        return self._logger

    def _mask(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        # Masked before it is cut, which could leave half of a secret.
        return {
            name: value if name in OURS else bounded(masked_text(value, self.secrets), LONGEST)
            for name, value in line.items()
        }


def masked_text(value: Any, secrets: Sequence[str]) -> Any:
    """A plain value with a mask wherever its texts hold a secret."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {name: masked_text(item, secrets) for name, item in value.items()}
    if isinstance(value, list):
        return [masked_text(item, secrets) for item in value]
    return value
