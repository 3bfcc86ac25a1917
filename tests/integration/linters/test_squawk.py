"""squawk, a linter of migrations, reads every statement of every step, there and back."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
from psycopg import sql

from linters.conftest import Migrated
from linters.linted_databases import Judged
from tenantry.execution.transaction import VALIDATION_LOCK_TIMEOUT, LockPolicy
from tenantry.model.plan import ExecutionMode, Phase, Statement
from tenantry.steps import (
    AddTenantColumn,
    AnyStep,
    NotNullCheck,
    SetNotNull,
    Step,
    ValidateNotNullCheck,
    from_json,
    to_json,
)

OURS = ("estoque", "enterprise", "corners", "lone table", "depot")
REAL = ("northwind", "chinook", "adventureworks")
OLDEST = "14"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What a step runs in one transaction, or one statement outside; `context` is what came before."""

    step: Step
    direction: str
    manner: ExecutionMode
    text: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class Complaint:
    rule: str
    script: Script
    message: str

    def __str__(self) -> str:
        script = self.script
        return f"{self.rule}: {script.step.kind} {script.direction} ({script.manner}): {script.text}"


@dataclass(slots=True, kw_only=True)
class Allowed:
    """An entry of squawk.toml."""

    rules: list[str]
    steps: list[str]
    reason: str
    direction: str = ""
    manner: str = ""
    where: dict[str, Any] = field(default_factory=dict)

    def covers(self, complaint: Complaint) -> bool:
        script = complaint.script
        value = to_json(script.step)
        return (
            complaint.rule in self.rules
            and value["kind"] in self.steps
            and self.direction in ("", script.direction)
            and self.manner in ("", script.manner)
            and all(value[name] == wanted for name, wanted in self.where.items())
        )


def allowed() -> list[Allowed]:
    text = Path(__file__).with_name("squawk.toml").read_text()
    return [Allowed(**entry) for entry in tomllib.loads(text)["allowed"]]


# -- what the steps run, as the runner runs it


def settings(manner: ExecutionMode) -> str:
    """What the transaction of a group begins with, in milliseconds."""
    lock, whole = LockPolicy().timeout, LockPolicy().timeout
    if manner is ExecutionMode.VALIDATION:
        lock, whole = VALIDATION_LOCK_TIMEOUT, 0.0
    return f"SET LOCAL lock_timeout = {lock * 1000:.0f};\nSET LOCAL statement_timeout = {whole * 1000:.0f};"


def scripts(step: Step, direction: str, statements: Sequence[Statement], context: str = "") -> Iterator[Script]:
    for alone, group in groupby(statements, key=lambda statement: statement.manner is ExecutionMode.CONCURRENT):
        together = tuple(group)
        if alone:
            for statement in together:
                yield Script(step=step, direction=direction, manner=ExecutionMode.CONCURRENT, text=statement.text + ";")
            continue
        manners = {statement.manner for statement in together}
        manner = ExecutionMode.VALIDATION if ExecutionMode.VALIDATION in manners else together[0].manner
        lines = ["BEGIN;", settings(manner)]
        if manner is ExecutionMode.TRANSACTION:
            lines += [
                f"LOCK TABLE ONLY {lock.table} IN {lock.mode} MODE;"
                for statement in together for lock in statement.locks
                if lock.mode.blocks_writers
            ]  # fmt: skip
        for statement in together:
            if statement.acting_as is not None:
                lines.append(sql.SQL("SET LOCAL ROLE {};").format(sql.Identifier(statement.acting_as)).as_string(None))
            lines.append(statement.text + ";")
        text = "\n".join([*lines, "COMMIT;"])
        yield Script(step=step, direction=direction, manner=manner, text=text, context=context)


def inside(connection: psycopg.Connection[Any], step: AddTenantColumn) -> tuple[Statement, ...]:
    """The ALTER TABLE that the DO block of a constant column puts together, which squawk cannot see into."""
    (block,) = step.apply()
    said: list[str] = []
    connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    text = block.text.replace("EXECUTE pg_catalog.format(", "RAISE NOTICE '%', pg_catalog.format(", 1)
    connection.execute(sql.SQL(text))  # type: ignore[arg-type]
    (alter,) = said
    assert alter.startswith("ALTER TABLE ")
    assert " DEFAULT '" in alter
    return (Statement(sql=sql.SQL(alter), locks=block.locks),)  # type: ignore[arg-type]


def all_scripts(judged: Judged) -> list[Script]:
    """Of each step that the journal holds: apply, revert with what was recorded, and keep."""
    found: list[Script] = []
    checked: dict[Any, str] = {}
    with judged.session() as session:
        for entry in session.entries.values():
            step = from_json(entry.value)
            apply = list(scripts(step, "apply", step.apply(), checked.get(step.table, "")))
            if isinstance(step, NotNullCheck | ValidateNotNullCheck):
                # squawk knows that SET NOT NULL is cheap behind a valid CHECK, where it sees that.
                checked[step.table] = checked.get(step.table, "") + "".join(script.text + "\n" for script in apply)
            found += [script if isinstance(step, SetNotNull) else _alone(script) for script in apply]
            if isinstance(step, AddTenantColumn) and step.constant is not None:
                found += scripts(step, "apply", inside(session.connection, step))
            found += scripts(step, "revert", step.revert(entry.before))
            found += scripts(step, "keep", step.keep(entry.before))
    return found


def _alone(script: Script) -> Script:
    return Script(step=script.step, direction=script.direction, manner=script.manner, text=script.text)


# -- what squawk says


def squawk(found: Sequence[Script], folder: Path) -> list[Complaint]:
    """What all the rules say that are on by default; each script is a file in `folder`, which is made."""
    folder.mkdir()
    files = {}
    for number, script in enumerate(found):
        path = folder / f"{number}.sql"
        path.write_text(script.context + script.text + "\n")
        files[str(path)] = script
    config = folder / "squawk.toml"
    config.write_text("")
    command: list[str | Path] = [Path(sys.executable).with_name("squawk"), "--config", config]
    command += ["--reporter", "json", "--pg-version", OLDEST, f"{folder}/*.sql"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    complaints = []
    for one in json.loads(done.stdout):
        script = files[one["file"]]
        if one["line"] >= script.context.count("\n"):
            complaints.append(Complaint(one["rule_name"], script, one["message"]))
    return complaints


def unexplained(complaints: Sequence[Complaint]) -> list[str]:
    known = allowed()
    return [str(one) for one in complaints if not any(entry.covers(one) for entry in known)]


@pytest.mark.nightly
@pytest.mark.parametrize("name", OURS)
def test_our_schemas(name: str, migrated: Migrated, tmp_path: Path) -> None:
    """Nothing is said of them that squawk.toml does not answer."""
    found = all_scripts(migrated(name))
    assert len(found) > 30
    assert unexplained(squawk(found, tmp_path / "sql")) == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", REAL)
def test_real_databases(name: str, migrated_real: Migrated, tmp_path: Path) -> None:
    """The same for schemas that others made."""
    found = all_scripts(migrated_real(name))
    assert len(found) > 300
    assert unexplained(squawk(found, tmp_path / "sql")) == []


def test_every_kind_of_step_and_every_entry(migrated: Migrated, tmp_path: Path) -> None:
    """Our schemas have each kind of step of a migration; of none of them anything is said that squawk.toml does not
    answer, and an entry that nothing needs is to go."""
    found = [script for name in OURS for script in all_scripts(migrated(name))]
    # Balances and API keys are on no table of the user's, but for triggers, which squawk has nothing to say of. What
    # Citus does is no statement of PostgreSQL's.
    steps = (kind for kind in get_args(get_args(AnyStep)[0]) if not kind.engine)
    kinds = {kind.__dataclass_fields__["kind"].default for kind in steps}
    assert {to_json(script.step)["kind"] for script in found} == {
        k for k in kinds if not k.startswith(("balance_", "api_key"))
    }
    complaints = squawk(found, tmp_path / "sql")
    assert unexplained(complaints) == []
    assert [one.reason for one in allowed() if not any(map(one.covers, complaints))] == []


@pytest.mark.parametrize(
    ("rule", "kind", "good", "bad"),
    [
        ("constraint-missing-not-valid", "foreign_key", " NOT VALID", ""),
        ("require-concurrent-index-creation", "index", 'INDEX CONCURRENTLY "', 'INDEX "'),
        ("require-lock-timeout", "row_security", "SET LOCAL lock_timeout = 2000;", ""),
        ("adding-not-nullable-field", "not_null", "VALIDATE CONSTRAINT", "DROP CONSTRAINT"),
        ("adding-field-with-default", "column", "DEFAULT '", "DEFAULT gen_random_uuid()::text || '"),
    ],
)
def test_what_squawk_would_refuse(
    rule: str, kind: str, good: str, bad: str, migrated: Migrated, tmp_path: Path
) -> None:
    """The judge sees our statements: with one word changed it complains."""
    found = [
        script
        for script in all_scripts(migrated("enterprise"))
        if (script.direction, to_json(script.step)["kind"]) == ("apply", kind) and good in script.context + script.text
    ]
    assert found
    assert all(rule != one.rule for one in squawk(found, tmp_path / "good"))
    broken = [
        Script(
            step=script.step, direction=script.direction, manner=script.manner,
            text=script.text.replace(good, bad), context=script.context.replace(good, bad),
        )
        for script in found
    ]  # fmt: skip
    complaints = [one for one in squawk(broken, tmp_path / "bad") if one.rule == rule]
    assert len(complaints) == len(found)


def test_every_phase_has_its_scripts(migrated: Migrated) -> None:
    phases = {script.step.phase for name in ("estoque", "depot") for script in all_scripts(migrated(name))}
    assert phases == set(Phase)
