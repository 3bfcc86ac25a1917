"""What --dry-run prints is what a run executes, and nothing else is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import load_estoque
from conftest import Command
from servers import Server
from tenantry.presets import spec_path

# Locks, and what is done under them, in one message.
BLOCK = r"DO LANGUAGE plpgsql \$tenantry\$\nDECLARE\n  begun "
# What a run does besides its steps: it looks, locks, keeps its journal, counts in temporary tables.
BOOKKEEPING = [
    BLOCK,
    r"SET CONSTRAINTS ALL IMMEDIATE$",
    r"(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|ROLLBACK TO)\b",
    r"(SET LOCAL|RESET ROLE|SET TRANSACTION|SHOW)\b",
    r"(SET synchronous_commit = off|RESET synchronous_commit)$",
    r"SET lock_timeout = \d+$",
    r"LOCK TABLE ONLY ",
    r"(WITH (?!.*\b(INSERT INTO|UPDATE|DELETE FROM) ).*)?SELECT ",
    r"-- [^\n]*\n(-- [^\n]*\n)*(WITH .*)?SELECT ",
    r"(INSERT INTO|UPDATE|DELETE FROM) tenantry\.",
    r"-- [^\n]*\n(-- [^\n]*\n)*UPDATE tenantry\.",
    r"(-- [^\n]*\n)?WITH (progress|noted) AS \(\s*(DELETE FROM|INSERT INTO) tenantry\.",
    r"CREATE SCHEMA tenantry$",
    r"CREATE TABLE IF NOT EXISTS tenantry\.journal ",
    r"-- Revokes what default privileges have granted on ",
    # The path of the session, after whatever a transaction has set off.
    r"(SET CONSTRAINTS ALL IMMEDIATE; )?SET search_path = pg_catalog, pg_temp$",
    r"ANALYZE ",
    r'CREATE TEMPORARY TABLE "(\w+)" .*ON COMMIT DROP',
    r'(INSERT INTO|UPDATE|CREATE (UNIQUE )?INDEX ON) ("pg_temp"\.)?"tenantry_\w+"',
]
# The backup, of which a dry run says what it would hold.
BACKUP = [
    r'CREATE TABLE "tenantry"\."backup_migration_\w+" AS SELECT ',
    r'ALTER TABLE "tenantry"\."backup_migration_\w+" ENABLE ROW LEVEL SECURITY',
    r'LOCK TABLE "public"\.',
    r"CREATE TABLE IF NOT EXISTS tenantry\.backups ",
]


def one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(";")


def executed_within(text: str) -> list[str]:
    """What a block of ours executes under its locks, which the server's log does not tell one by one."""
    if "DO LANGUAGE plpgsql $tenantry$" not in text:
        return []
    found = []
    for escaped, literal in re.findall(r"EXECUTE (?: ?(E))?'((?:[^']|'')*)'", text):
        plain = literal.replace("''", "'")
        found.append(plain.replace("\\\\", "\\") if escaped else plain)
    return found


def executed(log: Path) -> list[str]:
    """The statements of tenantry's sessions, in their order, from a log in JSON."""
    found = []
    for path in sorted(log.glob("*.json")):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            match = re.match(r"(?:statement|execute [^:]+): (.*)", entry.get("message", ""), re.DOTALL)
            if match and entry.get("application_name", "").startswith("tenantry 2"):
                found += [match.group(1), *executed_within(match.group(1))]
    return found


def templates(document: dict[str, Any], found_in_force: Set[str] = frozenset()) -> dict[str, bool]:
    """Each statement that is printed, and whether it is needed in any case."""
    found: dict[str, bool] = {}
    for step in document["steps"]:
        early = step["key"] in found_in_force
        for statement in step["statements"]:
            text = one_line(statement["sql"])
            # A sweep runs its batches only where something is left to repair.
            idle = statement["manner"] == "batches" and step["phase"] != "backfill"
            found[text] = found.get(text, False) or (statement["when"] is None and not idle and not early)
    return found


@pytest.fixture
def recorded(crashable: Server) -> Server:
    """A server that logs every statement."""
    for setting, value in {
        "logging_collector": "on", "log_destination": "jsonlog", "log_directory": "log", "log_statement": "all",
    }.items():  # fmt: skip
        crashable.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
    crashable.stop()
    crashable.start()
    return crashable


def test_templates_printed_are_those_executed(recorded: Server, command: Callable[[str], Command]) -> None:
    """Everything that a migration until contract executes was printed before, and all that was printed is executed."""
    database = recorded.create("shop")
    load_estoque(database)
    tenantry = command(database.dsn)
    (tenantry.folder / "tenantry.toml").write_text(spec_path("estoque").read_text())
    dump = database.dump()
    dry = tenantry("migrate", "--until", "contract", "--dry-run", "--json")
    assert dry.status == 0, dry.stderr
    assert database.dump() == dump
    assert database.rows("SELECT to_regnamespace('tenantry')") == [(None,)]
    printed = templates(dry.json)
    assert dry.json["backup"]["kind"] == "tables"
    assert "public.estoque_lotes" in dry.json["backup"]["tables"]
    assert not [text for text in executed(recorded.cluster.data / "log") if one_line(text) in printed]

    assert tenantry("migrate", "--until", "contract").status == 0
    statements = executed(recorded.cluster.data / "log")
    ran = {one_line(text) for text in statements} & printed.keys()
    other = [text for text in statements if one_line(text) not in printed]
    unknown = [
        text
        for text in other
        if not any(re.match(pattern, text.lstrip(), re.DOTALL) for pattern in BOOKKEEPING + BACKUP)
    ]
    assert not {text[:150] for text in unknown}
    # A step may come into force by another's doing: whoever may use a schema may as the new role, too.
    log = next(tenantry.folder.glob("logs/migration-*.log")).read_text().splitlines()
    entries = [json.loads(line) for line in log]
    early = {entry["key"] for entry in entries if entry["event"] == "step found"}
    assert len(early & {step["key"] for step in dry.json["steps"]}) <= 1
    printed = templates(dry.json, early)
    assert [text for text, always in printed.items() if always and text not in ran] == []
    assert len(ran) > 100

    again = tenantry("migrate", "--until", "contract", "--dry-run", "--json").json
    assert again["steps"] == []
