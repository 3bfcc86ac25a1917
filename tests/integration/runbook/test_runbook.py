"""The runbook is run: its commands, in their order, print what it says and end as it says.

A section that begins with `<!-- database: NAME -->` has a database of its own, prepared by BUILDERS[NAME]. In its
blocks of kind `console` a line `$ command` is run by a shell, the lines below it must be printed, in this order, and
`# exit N` behind the command is its exit status. `…` stands for anything. Ids of runs and backups and pids stand for
those of this run: what is printed is remembered, and put in their place from then on. Before a block
`<!-- meanwhile: SQL -->` is a session that has run this SQL, and keeps its transaction open until the block ends.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from conftest import ROOT
from forked_command import Forks
from runbook.reading import run
from servers import Database
from tenantry import MigrateOptions, migrate
from tenantry.model.spec import Spec
from tenantry.postgres.connect import Target
from tenantry.postgres.embedded import bin_directory
from tenantry.presets import load, spec_path

RUNBOOK = ROOT / "docs" / "runbook.md"
ROWS = 200
IDS = re.compile(
    r"\b(?:(?:migration|rollback|manual|fix)_\d{14}|\d{14}-[0-9a-f]{8})\b|(?<=\bpid )\d+|(?<=--terminate )\d+"
)
_SECTION = re.compile(r"<!-- database: (.+?) -->")
_BLOCK = re.compile(r"(?:<!-- meanwhile: (.+?) -->\n+)?```console\n(.*?)```", re.DOTALL)
_EXIT = re.compile(r"\s+# exit (\d+)\s*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command, its exit status, and the lines that it prints."""

    command: str
    status: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A section of the runbook."""

    title: str
    database: str
    blocks: tuple[tuple[str | None, tuple[Step, ...]], ...]


def scenarios() -> Iterator[Scenario]:
    for section in re.split(r"^## ", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        found = _SECTION.search(text)
        blocks = tuple((block[1], tuple(_steps(block[2]))) for block in _BLOCK.finditer(text))
        if blocks:
            assert found is not None, f"{title}: on which database?"
            yield Scenario(title=title, database=found[1], blocks=blocks)


def _steps(block: str) -> Iterator[Step]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *lines = part.rstrip().splitlines()
        status = _EXIT.search(command)
        yield Step(
            command=_EXIT.sub("", command),
            status=int(status[1]) if status else 0,
            lines=tuple(line for line in lines if line.strip() != "…"),
        )


@dataclass(slots=True, kw_only=True)
class Reader:
    """Runs the commands as somebody does who reads along, and remembers the ids that were printed."""

    forks: Forks
    folder: Path
    database: Database
    ids: dict[str, str] = field(default_factory=dict)

    def run(self, step: Step) -> None:
        command = IDS.sub(lambda found: self.ids.get(found[0], found[0]), step.command)
        settings = {
            "PATH": f"{Path(sys.executable).parent}:{bin_directory()}:{os.environ['PATH']}",
            "DATABASE_URL": self.database.dsn, "COLUMNS": "150", "NO_COLOR": "1", "TERM": "dumb",
            "PYTHONPATH": str(ROOT / "src"),
        }  # fmt: skip
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        status, printed = run(self.forks, command, self.folder, inherited | settings)
        said = f"$ {command}\n{printed}"
        assert status == step.status, said
        # Long lines are wrapped where a terminal ends; the runbook shows them whole.
        position, text = 0, re.sub(r"\s+", " ", printed)
        for line in step.lines:
            found = self._pattern(line).search(text, position)
            assert found is not None, f"this line is not printed: {line}\n\n{said}"
            self.ids |= {name: found[group] for group, name in self._groups(line).items()}
            position = found.end()

    def _groups(self, line: str) -> dict[str, str]:
        return {f"id{number}": name for number, name in enumerate(self._unknown(line))}

    def _unknown(self, line: str) -> list[str]:
        return list(dict.fromkeys(name for name in IDS.findall(line) if name not in self.ids))

    def _pattern(self, line: str) -> re.Pattern[str]:
        text = re.escape(re.sub(r"\s+", " ", line.strip())).replace("…", ".*?")
        for known, actual in self.ids.items():
            text = text.replace(re.escape(known), re.escape(actual))
        for group, name in self._groups(line).items():
            text = text.replace(re.escape(name), rf"(?P<{group}>[0-9a-z_]+(?:-[0-9a-f]+)?)", 1)
        return re.compile(text)


@pytest.fixture
def application(role: Callable[..., str]) -> str:
    return role(create=False, name="app")


def _fresh(database: Database, application: str, *faults: str) -> Spec:
    with database.connect() as connection:
        load(connection, preset="estoque", rows=ROWS, seed=1, faults=faults)
    text = spec_path("estoque").read_text().replace("tenantry_app", application)
    return Spec.parse(text)


def _migrated(database: Database, application: str, *faults: str) -> None:
    migrate(Target(database.dsn), _fresh(database, application, *faults), MigrateOptions())


BUILDERS: dict[str, Callable[[Database, str], object]] = {
    "before": _fresh,
    "migrated": _migrated,
    "expired lots": lambda database, application: _migrated(
        database, application, "expired-before-made", "negative-stock"
    ),
}


@pytest.mark.parametrize("scenario", [pytest.param(one, id=one.title) for one in scenarios()])
def test_runbook(scenario: Scenario, forks: Forks, database: Database, application: str, tmp_path: Path) -> None:
    """Every command of the section does what stands there."""
    BUILDERS[scenario.database](database, application)
    (tmp_path / "tenantry.toml").write_text(spec_path("estoque").read_text().replace("tenantry_app", application))
    reader = Reader(forks=forks, folder=tmp_path, database=database)
    for meanwhile, steps in scenario.blocks:
        with ExitStack() as stack:
            if meanwhile is not None:
                holder = database.connect(application_name="somebody")
                stack.callback(_end, holder)
                holder.execute(meanwhile)
            for step in steps:
                reader.run(step)


def _end(holder: psycopg.Connection[object]) -> None:
    with suppress(psycopg.Error):
        holder.rollback()
    holder.close()


def test_there_are_scenarios() -> None:
    """Nothing that the runbook shows is left out because it was written differently."""
    text = RUNBOOK.read_text(encoding="utf-8")
    commands = re.findall(r"^\$ ", text, re.MULTILINE)
    run = [step for scenario in scenarios() for _, steps in scenario.blocks for step in steps]
    assert len(run) == len(commands) >= 30
