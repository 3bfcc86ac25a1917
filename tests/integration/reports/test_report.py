"""Each run leaves a report, however it ends; it says what was done, how long it took, and where it stopped."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from cli.waiting import waits_for
from conftest import Command
from reports.reporting import only_report, read_report
from servers import Database, wait_until


@pytest.mark.server
def test_there_and_back(shop: Command) -> None:
    """The report of a migration and of its rollback: what the command line says, step by step, and where."""
    done = shop("migrate", "--json", "--report-dir", "out/reports", "--detailed", "--export-report").json
    path = Path(done["report"])
    assert path.parent == Path("out/reports")
    report = read_report(shop.folder / path)
    assert report["run"] == done["run"]
    assert (report["verdict"], report["exit_status"], report["stopped_at"], report["error"]) == ("done", 0, None, None)
    assert (report["outcome"], report["next_step"]) == (done["outcome"], done["next_step"])
    assert report["options"]["until"] == "isolate"
    assert report["database"]["server"].startswith(str(report["database"]["version"] // 10000))
    applied = [entry for entry in report["timeline"] if entry["action"] == "applied"]
    assert len(applied) == done["applied"] == report["metrics"]["steps"]
    assert sum(entry["rows"] or 0 for entry in applied) == done["rows"] == report["metrics"]["rows"] > 0
    assert [one["phase"] for one in report["metrics"]["phases"]] == ["expand", "backfill", "enforce", "isolate"]
    assert any(statement["sql"].startswith("ALTER TABLE") for entry in applied for statement in entry["statements"])
    assert 0 < report["metrics"]["longest_lock_held"] < 60_000
    rows = {table["table"]: table for table in report["distribution"]}
    assert rows["public.estoque_movimentacoes"]["rows"] == sum(
        share["rows"] for share in rows["public.estoque_movimentacoes"]["largest"]
    )
    for suffix in (".csv", ".html"):
        assert (shop.folder / path).with_suffix(suffix).exists()
    assert shop("rollback", "--confirm", "--quiet").status == 0
    back = only_report(shop.folder, "rollback")
    assert (back["verdict"], back["metrics"]["steps"]) == ("done", len(applied))
    assert {entry["action"] for entry in back["timeline"]} >= {"reverted"}


def test_refused(shop: Command, estoque: Database) -> None:
    """An undecided table: the report says what must be decided, and where the run stopped."""
    spec = shop.folder / "tenantry.toml"
    spec.write_text(
        spec.read_text().replace("[[table]]", '[[table]]\nname = "extra"\nundecided = "who knows"\n\n[[table]]', 1)
    )
    estoque.execute("CREATE TABLE extra (id integer PRIMARY KEY)")
    outcome = shop("migrate", "--until", "expand")
    report = only_report(shop.folder)
    assert (outcome.status, report["exit_status"], report["verdict"]) == (4, 4, "refused")
    assert report["error"]["details"] == ["public.extra: who knows"]
    assert report["error"]["message"] in outcome.stderr
    assert report["stopped_at"] == "the schema and the server"
    assert f"Report: reports/migration-report-{report['run']}.json" in outcome.stderr


def test_no_connection(shop: Command) -> None:
    """There is a report of that, too, and no secret in it."""
    dsn = f"postgresql://maria:s3cr3t%2Fone@nobody/shop?host={shop.folder}&port=1"
    assert shop("migrate", "--export-report", dsn=dsn).status == 3
    report = only_report(shop.folder)
    assert (report["verdict"], report["database"]) == ("connection", None)
    assert report["stopped_at"] == "the connection to the server"
    for path in shop.folder.rglob("*.*"):
        assert not path.is_file() or not {"s3cr3t%2Fone", "s3cr3t/one"} & set(path.read_text().split()), path
        assert not path.is_file() or "s3cr3t" not in path.read_text(), path


def test_failed_behind_a_lock(shop: Command, estoque: Database) -> None:
    """Who held it, how long it was waited for, at which step; the log says so as it happens."""
    with estoque.connect() as holder:
        holder.execute("LOCK TABLE usuarios IN ROW EXCLUSIVE MODE")
        pid = holder.info.backend_pid
        outcome = shop("migrate", "--lock-timeout", "0.2", "--lock-budget", "2", "--export-report")
    assert outcome.status == 5, outcome.stderr
    report = only_report(shop.folder)
    assert report["verdict"] == "failed"
    assert report["stopped_at"].startswith("public.usuarios: ")
    (last,) = (entry for entry in report["timeline"] if entry["action"] == "failed")
    assert last["table"] == "public.usuarios"
    assert last["message"] == report["error"]["message"]
    (wait,) = (one for one in report["waits"] if one["table"] == "public.usuarios")
    assert wait["tries"] > 1
    assert wait["milliseconds"] >= 200
    assert any(f"pid {pid}" in blocker for blocker in wait["blocked_by"])
    (page,) = shop.folder.glob("reports/*.html")
    assert "It stopped at: public.usuarios: " in page.read_text()
    (log,) = shop.folder.glob("logs/*.log")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(f"pid {pid}" in name for line in lines if line["event"] == "blocked" for name in line["blocked_by"])
    (failed,) = (line for line in lines if line["event"] == "step failed")
    assert (failed["table"], failed["phase"]) == ("public.usuarios", last["phase"])


def test_interrupted_and_killed(shop: Command, estoque: Database) -> None:
    """Ctrl-C: where it stopped. A kill: the report that was there from the beginning, which still says running."""
    with estoque.connect() as holder:
        holder.execute("LOCK TABLE usuarios IN ROW EXCLUSIVE MODE")
        process = shop.start("migrate")
        wait_until(lambda: waits_for(shop, "usuarios"), seconds=60)
        process.send_signal(signal.SIGINT)
        process.communicate()
        report = only_report(shop.folder)
        assert (report["verdict"], report["exit_status"]) == ("interrupted", 130)
        assert report["stopped_at"].startswith("public.usuarios: ")
        assert "Run the same command again" in report["next_step"]
        for path in (*shop.folder.glob("logs/*"), *shop.folder.glob("reports/*")):
            path.unlink()
        process = shop.start("migrate")
        wait_until(lambda: waits_for(shop, "usuarios"), seconds=60)
        process.kill()
        process.communicate()
    killed = only_report(shop.folder)
    assert (killed["verdict"], killed["finished_at"]) == ("running", None)
    assert not list(shop.folder.glob("reports/.*"))


def test_what_cannot_be_written_stops_the_run_before_it_begins(shop: Command, estoque: Database) -> None:
    """A folder that is a file: exit 2, and nothing was changed."""
    (shop.folder / "taken").write_text("")
    outcome = shop("migrate", "--report-dir", "taken")
    assert outcome.status == 2
    assert "--report-dir" in outcome.stderr
    assert estoque.rows("SELECT to_regnamespace('tenantry')") == [(None,)]


def test_a_report_that_cannot_be_written_at_the_end_fails_no_run(shop: Command, estoque: Database) -> None:
    """The run has done what it has done: exit 0, and a word about the report."""
    with estoque.connect() as holder:
        holder.execute("LOCK TABLE usuarios IN ROW EXCLUSIVE MODE")
        process = shop.start("migrate", "--until", "expand")
        wait_until(lambda: waits_for(shop, "usuarios"), seconds=60)
        for path in (shop.folder / "reports").iterdir():
            path.unlink()
        (shop.folder / "reports").rmdir()
        (shop.folder / "reports").write_text("")
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert "The report could not be written" in stderr


def test_commands_that_write_none_say_so(shop: Command) -> None:
    """Every command takes the option, and none ignores it in silence."""
    outcome = shop("plan", "--report-dir", "out")
    assert outcome.status == 0
    assert "--report-dir had no effect" in outcome.stderr
    assert not (shop.folder / "out").exists()


def test_other_commands(shop: Command) -> None:
    """Backups and housekeeping have reports under their own names, with database and outcome."""
    for title, arguments in (("backup", ("backups", "create")), ("housekeeping", ("housekeeping",))):
        assert shop(*arguments, "--quiet").status == 0
        report = only_report(shop.folder, title)
        assert (report["command"], report["verdict"]) == (" ".join(arguments), "done")
        assert report["outcome"]
