"""tenantry verify, --fix-issues and tenantry fixes, by the real command."""

from __future__ import annotations

from conftest import Command
from servers import Database

ACTIVE = "UPDATE estoque_lotes SET status = 'ativo' WHERE status = 'vencido'"
LOTS = "SELECT md5(string_agg(l::text, ',' ORDER BY id)) FROM estoque_lotes l"


def test_verify_before_a_migration(shop: Command, estoque: Database) -> None:
    """Clean is 0; a broken rule is 1, with samples, what to do, a log and a report under their names; nothing changes."""
    clean = shop("verify", "--verbose")
    assert (clean.status, "Clean:" in clean.stdout, "lot-twice was not checked" in clean.stdout) == (0, True, True)
    estoque.execute(ACTIVE + "; UPDATE estoque_escolas SET quantidade_atual = quantidade_atual + 1 WHERE id < 3")
    rows = estoque.rows(LOTS)
    found = shop("verify", "--samples", "2", "--json")
    assert found.status == 1
    findings = {finding["name"]: finding for finding in found.json["findings"]}
    assert findings["stock-not-its-last-history"]["count"] == 2
    assert findings["stock-not-its-last-history"]["family"] == "business"
    assert len(findings["lot-expired-but-active"]["samples"]) == 2
    assert "/verification-" in found.json["log"]
    told = shop("verify", "--table", "estoque_escolas").stdout
    assert "2 rows of public.estoque_escolas" in told
    assert "lot-expired" not in told
    assert len(list((shop.folder / "reports").glob("verification-report-*.json"))) == 3
    assert estoque.rows(LOTS) == rows
    assert estoque.rows("SELECT to_regnamespace('tenantry')") == [(None,)]


def test_fix_issues_and_the_way_back(shop: Command, estoque: Database) -> None:
    """The dry run shows the statement and changes nothing; the fix says what it has done and what remains, and how to
    take it back; what was changed since is not overwritten."""
    estoque.execute(ACTIVE)
    before = estoque.rows(LOTS)
    (count,) = estoque.rows(
        "SELECT count(*) FROM estoque_lotes WHERE status = 'ativo' AND data_validade < '2025-06-29'"
    )[0]
    dry = shop("verify", "--fix-issues", "--dry-run")
    assert dry.status == 0
    assert 'UPDATE ONLY "public"."estoque_lotes" AS t SET "status" = (\'vencido\')' in dry.stdout
    assert "Before that a backup: 1 table" in dry.stdout
    assert dry.stdout.rstrip().endswith("Nothing was changed.")
    assert (estoque.rows(LOTS), estoque.rows("SELECT to_regnamespace('tenantry')")) == (before, [(None,)])
    done = shop("verify", "--fix-issues", "--json")
    assert done.status == 0, done.stdout
    (fix,) = done.json["fixes"]
    assert (fix["name"], fix["table"], fix["left"]) == ("lot-expired-but-active", "public.estoque_lotes", 0)
    assert fix["fixed"] >= count > 0
    assert estoque.rows(LOTS) != before
    (saved,) = shop("backups", "list", "--json").json["backups"]
    assert saved["id"].startswith("fix_")
    (listed,) = shop("fixes", "list", "--json").json["fixes"]
    run = listed["run"]
    assert (listed["rows"], listed["undone"], run in done.json["next_step"]) == (fix["fixed"], 0, True)
    purge = shop("housekeeping", "--purge")
    assert (purge.status, "fixes undo" in purge.stderr) == (4, True)
    estoque.execute("UPDATE estoque_lotes SET status = 'bloqueado' WHERE id = (SELECT min((key ->> 'id')::int)"
                    " FROM tenantry.fixed_rows)")  # fmt: skip
    assert "Before that a backup: 1 table" in shop("fixes", "undo", run, "--dry-run").stdout
    refused = shop("fixes", "undo", run)
    assert (refused.status, "status changed since" in refused.stderr) == (4, True)
    undone = shop("fixes", "undo", run, "--force")
    assert (undone.status, "overwritten:" in undone.stdout) == (0, True)
    assert estoque.rows(LOTS) == before
    again = shop("fixes", "undo", run, "--dry-run")
    assert (again.status, "0 rows to restore, 0 of them changed since" in again.stdout) == (0, True)
    assert run in shop("fixes", "list").stdout
    assert shop("housekeeping", "--purge").status == 0


def test_wrong_usage(shop: Command, estoque: Database) -> None:
    """Options that mean nothing alone, runs that have fixed nothing, rules that cannot be read: exit 2, and why."""
    alone = shop("verify", "--backup", "none")
    assert (alone.status, "--fix-issues" in alone.stderr) == (2, True)
    alone = shop("verify", "--dry-run")
    assert (alone.status, "--fix-issues" in alone.stderr) == (2, True)
    stranger = shop("fixes", "undo", "20200101000000-00000000")
    assert (stranger.status, "fixes list" in stranger.stderr) == (2, True)
    spec = shop.folder / "tenantry.toml"
    spec.write_text(spec.read_text() + '\n[[rule]]\nname = "lot-sum"\ntable = "produtos"\nviolates = "true"\n')
    twice = shop("verify")
    assert (twice.status, "two rules have the name 'lot-sum'" in twice.stderr) == (2, True)
