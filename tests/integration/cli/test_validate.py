"""tenantry validate, as a process."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import psycopg
import pytest

from acceptance.round_trip import checksums
from conftest import Command
from servers import Database, wait_until

SEQUENCES = "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"
OURS = "SELECT key, state, definition FROM tenantry.steps ORDER BY key"
SLEEPS = (
    "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
    " AND query ~ 'pg_sleep' AND pid <> pg_backend_pid()"
)
WRONG = "SET session_replication_role = replica; UPDATE estoque_movimentacoes SET lote_id = 999999 WHERE id <= {}"


def build_migrated(shop: Command) -> None:
    outcome = shop("migrate", "--quiet")
    assert outcome.status == 0, outcome.stderr


def state(database: Database) -> tuple[object, ...]:
    """All that validate must leave alone."""
    return database.dump(), checksums(database), database.rows(SEQUENCES), database.rows(OURS)


@pytest.mark.server
@pytest.mark.differs
def test_nothing_wrong(shop: Command, estoque: Database) -> None:
    """Exit 0, a line for each family, what was read; from then on `status` says COMPLETED, until something is found,
    or changed. Neither rows nor schema nor sequences change."""
    build_migrated(shop)
    before = state(estoque)
    outcome = shop("validate")
    assert outcome.status == 0, outcome.stdout + outcome.stderr
    marks = [line.split()[:2] for line in outcome.stdout.splitlines() if line[:2] in ("✓ ", "✗ ")]
    assert [["✓", name] for name in ("structure", "completeness", "references", "isolation", "performance")] == marks
    assert "Clean: " in outcome.stdout
    assert state(estoque) == before
    (log,) = shop.folder.glob("logs/validation-*.log")
    assert str(log.relative_to(shop.folder)) in outcome.stdout
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "done"
    words = [shop("status", "--json").json["word"]]
    assert shop("migrate", "--json").json["applied"] == 0
    words.append(shop("status", "--json").json["word"])
    estoque.execute(WRONG.format(1))
    assert shop("validate", "--table", "produtos", "--quiet").status == 0
    words.append(shop("status", "--json").json["word"])
    assert shop("validate", "--table", "estoque_movimentacoes", "--quiet").status == 1
    words.append(shop("status", "--json").json["word"])
    assert words == ["COMPLETED", "COMPLETED", "COMPLETED", "SECURITY_ENABLED"]
    assert "correct what the last `tenantry validate` found" in shop("status").stdout
    assert [run["command"] for run in shop("status", "--json").json["runs"]][:2] == [
        "validate --table estoque_movimentacoes", "validate --table produtos",
    ]  # fmt: skip


def test_what_is_found(shop: Command, estoque: Database) -> None:
    """Exit 1: the count, some of the rows, what to do; --detailed shows all samples and each table's tenants."""
    build_migrated(shop)
    estoque.execute(WRONG.format(30))
    outcome = shop("validate", "--samples", "9")
    assert outcome.status == 1
    lines = outcome.stdout.splitlines()
    (at,) = [number for number, line in enumerate(lines) if "30 rows of public.estoque_movimentacoes whose" in line]
    assert lines[at].startswith("error")
    assert [line.strip().startswith("id ") for line in lines[at + 1 : at + 4]] == [True] * 3
    assert "… and 27 more" in lines[at + 4]
    assert lines[at + 5].strip().startswith("→ ")
    assert "Found: 1 error" in outcome.stdout
    narrow = shop("validate", environment={"COLUMNS": "50"}).stdout
    between = narrow[narrow.index("error ") : narrow.index("Found:")].splitlines()
    assert len(between) > 6
    assert {line[:9].strip() for line in between} == {"error", ""}, "what is wrapped stands below its beginning"
    detailed = shop("validate", "--samples", "9", "--detailed").stdout
    assert len([line for line in detailed.splitlines() if line.strip().startswith("id ") and "999999" in line]) == 9
    assert "… and 21 more" in detailed
    assert "public.usuarios" in detailed


def test_json(shop: Command, estoque: Database) -> None:
    """One document: families, findings with counts and samples, distributions."""
    build_migrated(shop)
    estoque.execute(WRONG.format(30))
    document = shop("validate", "--json").json
    assert document["exit_status"] == 1
    (finding,) = [one for one in document["findings"] if one["severity"] != "info"]
    assert (finding["name"], finding["count"], len(finding["samples"])) == ("dangling-reference", 30, 20)
    assert {family["family"]: family["findings"] for family in document["families"]}["references"] == 1
    counted = {one["table"]: one["rows"] for one in document["distributions"]}
    assert counted["public.usuarios"] == estoque.rows("SELECT count(*) FROM usuarios")[0][0]


def test_an_untouched_database(shop: Command, estoque: Database) -> None:
    """Exit 1, every phase named; nothing is made, not even a journal."""
    dump, rows = estoque.dump(), checksums(estoque)
    outcome = shop("validate", "--json")
    assert outcome.status == 1
    assert {one["name"] for one in outcome.json["findings"] if one["severity"] != "info"} == {"phase-pending"}
    assert (estoque.dump(), checksums(estoque)) == (dump, rows)
    assert estoque.rows("SELECT to_regnamespace('tenantry')") == [(None,)]


def test_interrupted(shop: Command, estoque: Database) -> None:
    """Ctrl-C while it reads: exit 130 at once, and nothing has changed; the journal says so, and `status` does not take
    it for a validation."""
    assert shop("migrate", "--until", "expand", "--quiet").status == 0
    spec = (shop.folder / "tenantry.toml").read_text()
    slow = spec.replace(
        'name   = "usuarios"\npaths  = [["escola_id"]]', 'name = "usuarios"\nassign = { sql = "pg_sleep(9)" }'
    )
    assert slow != spec
    (shop.folder / "slow.toml").write_text(slow)
    before = state(estoque)
    process = shop.start("validate", "--config", "slow.toml")
    wait_until(lambda: estoque.rows(SLEEPS) == [(1,)], seconds=60)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130, stdout + stderr
    assert "Run the same command again" in stderr
    assert state(estoque) == before
    wait_until(lambda: estoque.rows(SLEEPS) == [(0,)])  # a session may take a moment to end
    assert estoque.rows("SELECT command, exit_status FROM tenantry.runs ORDER BY started_at")[-1] == ("validate", 130)


def test_interrupted_while_it_reads_the_catalog(shop: Command, estoque: Database) -> None:
    """Ctrl-C before the first check: exit 130 as well."""
    with psycopg.connect(estoque.dsn) as other:
        # Read for the schema alone, and not when a connection is opened.
        other.execute("LOCK TABLE pg_catalog.pg_partitioned_table IN ACCESS EXCLUSIVE MODE")
        process = shop.start("validate")
        waits = "SELECT application_name FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: "catalog" in str(estoque.rows(waits)), seconds=60)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stdout + stderr
    assert "Run the same command again" in stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--table", "estoque_lote"], 2, 'did you mean "public.estoque_lotes"?'),
        (["--samples", "-1"], 2, "--samples"),
        (["--nonsense"], 2, "--nonsense"),
        (["--dsn", "host=/nowhere dbname=x"], 3, "Cannot connect"),
    ],
)
def test_bad_usage(shop: Command, arguments: list[str], status: int, said: str) -> None:
    """One clear sentence and the right exit status."""
    outcome = shop("validate", *arguments)
    assert outcome.status == status
    assert said in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_who_may_not_read(shop: Command, estoque: Database, role: Callable[..., str]) -> None:
    """Too few privileges: exit 3, and no word of all being well."""
    build_migrated(shop)
    reader = role("LOGIN", name="reader")
    estoque.execute(
        f"GRANT USAGE ON SCHEMA tenantry TO {reader}; GRANT SELECT ON tenantry.steps, tenantry.journal TO {reader}"
    )
    outcome = shop("validate", "--dsn", estoque.dsn.replace("user=postgres", f"user={reader}"))
    assert outcome.status in (1, 3)
    assert "Clean" not in outcome.stdout
    assert "Traceback" not in outcome.stderr
