"""tenantry migrate, status and rollback, as processes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from cli.waiting import waits_for
from conftest import ROOT, Command
from daily import daily
from servers import Database, wait_until
from tenantry.model.plan import Phase

WORDS = {
    Phase.EXPAND: "IN_PROGRESS",
    Phase.BACKFILL: "DATA_MIGRATED",
    Phase.ENFORCE: "DATA_MIGRATED",
    Phase.ISOLATE: "SECURITY_ENABLED",
    Phase.CONTRACT: "COMPLETED",
}


@pytest.mark.server
def test_there_and_back(shop: Command, estoque: Database) -> None:
    """Phase by phase: the status word, nothing altered, a second run finds all in force; back: the schema of before."""
    before = estoque.dump()
    assert shop("status", "--json").json["word"] == "NOT_STARTED"
    for phase, word in WORDS.items():
        outcome = shop("migrate", "--until", phase, "--json")
        assert outcome.status == 0, outcome.stdout + outcome.stderr
        assert outcome.stderr == ""
        assert outcome.json["applied"] > 0
        status = shop("status", "--json").json
        assert (status["word"], status["altered"]) == (word, [])
        assert status["runs"][0]["command"] == f"migrate --until {phase}"
        again = shop("migrate", "--until", phase, "--json").json
        assert (again["applied"], again["outcome"].endswith(f"migrated through {phase}")) == (0, True)
    early = shop("migrate", "--until", "expand", "--json").json
    assert early["outcome"].endswith("migrated through contract")
    assert early["next_step"] == "Nothing: the migration is complete."
    assert shop("rollback", "--confirm", "--json").json["exit_status"] == 0
    assert estoque.dump() == before
    assert shop("status", "--json").json["word"] == "NOT_STARTED"
    assert shop("housekeeping", "--purge").status == 0
    assert estoque.rows("SELECT to_regnamespace('tenantry')") == [(None,)]


def test_another_tenant_column(shop: Command, estoque: Database) -> None:
    """What the spec calls otherwise than it was made is refused before the first change, by a dry run with the same sentence
    and exit status; a plan is shown all the same, with the sentence."""
    before = estoque.dump()
    assert shop("migrate", "--until", "enforce").status == 0
    migrated = estoque.dump()
    spec = shop.folder / "tenantry.toml"
    text = spec.read_text()
    spec.write_text(text.replace('"tenant_id"', '"org_id"', 1))
    contract = ["migrate", "--until", "contract"]
    for arguments in (["migrate"], contract, ["migrate", "--dry-run"], [*contract, "--dry-run"], ["plan"]):
        outcome = shop(*arguments)
        assert outcome.status == (0 if arguments == ["plan"] else 4), outcome.stdout + outcome.stderr
        assert " org_id, but tenantry has added it as" in outcome.stderr
        assert "tenantry rollback --confirm" in outcome.stderr
        assert estoque.dump() == migrated
    assert shop("rollback", "--confirm").status == 0
    assert estoque.dump() == before
    assert shop("migrate", "--until", "enforce").status == 0
    assert estoque.rows(
        "SELECT DISTINCT attname::text FROM pg_attribute WHERE attname IN ('org_id', 'tenant_id')"
        " AND attrelid = 'usuarios'::regclass"
    ) == [("org_id",)]


def test_words_on_a_pipe(shop: Command) -> None:
    """A line a phase, then what was done and what to do next; the log has each step."""
    outcome = shop("migrate", "--until", "enforce")
    assert outcome.status == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    phases = {line.split()[1]: line for line in lines if line.startswith("✓ ")}
    assert list(phases) == ["expand", "backfill", "enforce"]
    assert re.search(r"^Done: \d+ steps applied", outcome.stdout, re.MULTILINE)
    assert "\nNext: " in outcome.stdout
    assert "\x1b" not in outcome.stdout
    (log,) = shop.folder.glob("logs/migration-*.log")
    assert str(log.relative_to(shop.folder)) in outcome.stdout
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    applied = [entry for entry in entries if entry["event"] == "step applied"]
    steps = Counter(entry["phase"] for entry in applied)
    assert {phase: f" {steps[phase]} steps," in line for phase, line in phases.items()} == dict.fromkeys(phases, True)
    assert {entry["run"] for entry in entries} == {log.stem.removeprefix("migration-")}
    assert entries[-1]["event"] == "done"


def test_detailed_shows_each_statement_with_its_time(shop: Command) -> None:
    """--detailed: a line a step under the name of its phase, and below it the statements."""
    outcome = shop("migrate", "--until", "expand", "--detailed")
    lines = outcome.stdout.splitlines()
    assert [line for line in lines if line in list(Phase)] == ["expand"]
    assert any("public.usuarios" in line and "add the column tenant_id" in line for line in lines)
    assert re.search(r'^ +\d+\.\d ms  ALTER TABLE "public"."usuarios" ADD COLUMN', outcome.stdout, re.MULTILINE)


def test_quiet(shop: Command) -> None:
    """--quiet: the outcome, and nothing else."""
    outcome = shop("migrate", "--quiet")
    assert outcome.status == 0
    (line,) = outcome.stdout.splitlines()
    assert line.startswith("Done: ")


def test_rollback_has_to_be_asked_for(shop: Command, estoque: Database) -> None:
    """Without --confirm or --preserve-data it shows what it would do, changes nothing, and exits 4; --dry-run
    exits 0.
    """
    assert shop("migrate", "--quiet").status == 0
    dump = estoque.dump()
    outcome = shop("rollback", "--detailed")
    assert outcome.status == 4
    assert 'DROP COLUMN IF EXISTS "tenant_id"' in outcome.stdout
    assert "--confirm" in outcome.stderr
    dry = shop("rollback", "--dry-run", "--detailed")
    assert dry.status == 0
    assert 'DROP COLUMN IF EXISTS "tenant_id"' in dry.stdout
    kept = shop("rollback", "--dry-run", "--preserve-data", "--detailed")
    assert 'DROP COLUMN IF EXISTS "tenant_id"' not in kept.stdout
    assert estoque.dump() == dump
    assert shop("rollback", "--preserve-data").status == 0
    assert estoque.rows("SELECT count(*) FROM usuarios WHERE tenant_id IS NOT NULL")[0][0] > 0
    assert shop("migrate", "--quiet").status == 0


def test_nothing_to_roll_back(shop: Command) -> None:
    """On an untouched database a rollback has nothing to do, and says so."""
    assert shop("rollback").status == 0
    outcome = shop("rollback", "--confirm")
    assert outcome.status == 0
    assert "tenantry had applied nothing" in outcome.stdout
    assert "Next" not in outcome.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_while_it_waits(shop: Command, estoque: Database, number: int) -> None:
    """Ctrl-C ends a run that waits for a lock: exit 130, how to go on, and going on works."""
    with estoque.connect() as holder:
        holder.execute("LOCK TABLE usuarios IN ROW EXCLUSIVE MODE")
        process = shop.start("migrate")
        wait_until(lambda: waits_for(shop, "usuarios"))
        process.send_signal(number)
        stdout, stderr = process.communicate()
    assert process.returncode == 130, stdout + stderr
    assert "Stopping after" in stdout
    assert "Run the same command again" in stderr
    assert estoque.rows("SELECT exit_status FROM tenantry.runs") == [(130,)]
    assert shop("migrate", "--quiet").status == 0


def test_a_lock_of_another(shop: Command, estoque: Database) -> None:
    """The holder is named by status while a run waits for it, and by the run that gives up in its budget, exit 5."""
    with estoque.connect() as holder:
        holder.execute("LOCK TABLE usuarios IN ROW EXCLUSIVE MODE")
        process = shop.start("migrate", "--lock-timeout", "3")
        seen: list[str] = []

        def look() -> bool:
            status = shop("status", "--json").json
            seen.extend(name for activity in status.get("activity", ()) for name in activity["blockers"])
            return bool(seen)

        wait_until(look)
        process.send_signal(signal.SIGINT)
        process.communicate()
        gave_up = shop("migrate", "--lock-timeout", "0.5", "--lock-budget", "1")
        pid = holder.info.backend_pid
    assert gave_up.status == 5, gave_up.stdout + gave_up.stderr
    assert f"pid {pid}" in gave_up.stdout
    assert f"pid {pid}" in gave_up.stderr
    assert any(f"pid {pid}" in name for name in seen), seen
    assert shop("migrate", "--quiet").status == 0


def test_a_second_run(shop: Command, estoque: Database) -> None:
    """While one run goes on, another is refused, exit 4, and told who it is; status is not."""
    with estoque.connect() as holder:
        holder.execute("LOCK TABLE usuarios IN ROW EXCLUSIVE MODE")
        process = shop.start("migrate")
        wait_until(lambda: shop("status", "--json").json.get("running"))
        for second in [shop.start("migrate"), shop.start("housekeeping", "--purge")]:
            _, stderr = second.communicate()
            assert second.returncode == 4
            assert "Another run is active" in stderr
    process.communicate()
    assert process.returncode == 0


def test_a_reader_that_goes_away(shop: Command, estoque: Database) -> None:
    """`tenantry migrate | head -1` migrates to its end, without a complaint."""
    process = shop.start("migrate")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    stderr = process.stderr.read()
    assert process.wait(timeout=60) == 0
    assert stderr == ""
    assert shop("status", "--json").json["word"] == "SECURITY_ENABLED"


def test_a_lost_connection(shop: Command, estoque: Database) -> None:
    """Exit 5, one message, no traceback; the same command goes on."""
    with estoque.connect() as holder:
        holder.execute("LOCK TABLE usuarios IN ROW EXCLUSIVE MODE")
        process = shop.start("migrate")
        wait_until(lambda: waits_for(shop, "usuarios"))
        estoque.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name ~ '^tenantry .* migrate$'"
        )
        stdout, stderr = process.communicate()
    assert process.returncode == 5, stdout + stderr
    assert "Traceback" not in stdout + stderr
    assert "connection" in stderr.lower()
    assert shop("migrate", "--quiet").status == 0


def test_the_unexpected(shop: Command, tmp_path: object) -> None:
    """A mistake of ours: exit 5 with the name of the log, which has the traceback and no secret."""
    program = (
        "import sys, tenantry.commands.plan\n"
        "def broken(*a, **k): raise ZeroDivisionError('password s3cr3t-one was divided by zero')\n"
        "sys.modules['tenantry.commands.plan'].Session = type('S', (), {'begin': staticmethod(broken)})\n"
        "from tenantry.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "plan", "--dsn", shop.dsn + " password=s3cr3t-one"],
        cwd=shop.folder, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    (log,) = shop.folder.glob("logs/plan-*.log")
    assert str(log.relative_to(shop.folder)) in done.stderr
    assert "ZeroDivisionError" in log.read_text()
    assert "s3cr3t-one" not in done.stderr + log.read_text()


def on_a_terminal(shop: Command, *arguments: str, columns: int) -> tuple[int, str]:
    """Run the command on a pseudo-terminal; its exit status and all that it wrote."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tenantry", *arguments, "--dsn", shop.dsn],
        cwd=shop.folder, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**environment, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm-256color", "COLUMNS": str(columns)},
    )  # fmt: skip
    os.close(theirs)
    found: list[bytes] = []

    def read() -> None:
        with suppress(OSError):
            while chunk := os.read(ours, 4096):
                found.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        status = process.wait(timeout=120)
    finally:
        process.kill()
        reader.join(timeout=60)
        os.close(ours)
    return status, b"".join(found).decode(errors="replace")


@pytest.mark.parametrize("columns", daily([40, 80]))
def test_bars_on_a_terminal(shop: Command, estoque: Database, columns: int) -> None:
    """Bars move, no line but a path to be copied is wider than the terminal, and each step says what it took."""
    status, text = on_a_terminal(shop, "migrate", "--detailed", columns=columns)
    assert status == 0, text
    assert "━" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", text)
    lines = re.split(r"[\r\n]+", plain)
    assert max(len(line) for line in lines if not line.startswith(("Log: ", "Report: "))) <= columns
    assert "Done: " in plain
    steps = re.findall(r"✓ [^\r\n]+", re.sub(r"\x1b\[[0-9;]*m", "", text))
    assert len(steps) > 50
    assert {step.rstrip()[-2:] for step in steps} == {"s)"}


def test_status_in_a_narrow_terminal(shop: Command) -> None:
    """The names of tables go on below, and are whole; how far each has come stands in one line."""
    rows = shop("status", environment={"COLUMNS": "40"}).stdout.splitlines()
    head = next(line for line in rows if line.startswith("table"))
    assert head.split()[-3:] == ["con", "idx", "rls"]
    names = "".join(
        line[: head.index("filled")].strip() + ("\n" if line.endswith(("–", "no")) else "") for line in rows
    )
    assert "estoque_escolas_historico" in names
    assert "…" not in "".join(rows)
    assert max(map(len, rows)) <= 40


def test_no_color_on_a_terminal(shop: Command) -> None:
    """--no-color: no colour, on a terminal either."""
    _, text = on_a_terminal(shop, "status", "--no-color", columns=80)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", text)


def test_an_index_that_takes_long(shop: Command, estoque: Database) -> None:
    """A build that waits for another's transaction says for whom."""
    assert shop("migrate", "--until", "backfill", "--quiet").status == 0
    with estoque.connect() as holder:
        holder.execute("SELECT count(*) FROM escolas")
        holder.execute("UPDATE escolas SET codigo = codigo WHERE id = 1")
        process = shop.start("migrate", "--until", "enforce")
        pid = holder.info.backend_pid
        wait_until(
            lambda: any(f"pid {pid}" in path.read_text() and '"activity"' in path.read_text()
                        for path in shop.folder.glob("logs/*.log")),
        )  # fmt: skip
        time.sleep(0.1)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stdout + stderr


def test_without_an_environment(command: Callable[[str], Command]) -> None:
    """Nothing names a database: exit 3, in one sentence."""
    bare = command("")
    outcome = bare("status", "--preset", "estoque", environment={"PGHOST": str(bare.folder), "PGPORT": "1"})
    assert outcome.status == 3
    assert "Cannot connect" in outcome.stderr
