"""tenantry full: migrate, validate, verify; one report, one verdict."""

from __future__ import annotations

from conftest import Command
from reports.reporting import only_report
from servers import Database

PARTS = ["migrate", "validate", "verify"]
NEGATIVE = "UPDATE estoque_lotes SET quantidade_atual = -3 WHERE id = (SELECT min(id) FROM estoque_lotes)"


def test_all_is_well(shop: Command) -> None:
    """Exit 0: the database is migrated, each part has its outcome, all of it in one report and one log."""
    outcome = shop("full", "--export-report")
    assert outcome.status == 0, outcome.stdout + outcome.stderr
    assert "Done: migrated, and nothing was found wrong." in outcome.stdout
    report = only_report(shop.folder)
    assert (report["command"], report["verdict"], report["stopped_at"]) == ("full", "done", None)
    assert [part["command"] for part in report["commands"]] == PARTS
    assert all(part["outcome"] for part in report["commands"])
    steps = [entry for entry in report["timeline"] if entry["key"] is not None]
    assert report["metrics"]["steps"] == len(steps) > 100
    assert report["metrics"]["rows"] == sum(entry["rows"] or 0 for entry in steps) > 0
    assert report["distribution"]
    assert len(list(shop.folder.glob("logs/*"))) == 1
    assert shop("status", "--json").json["word"] == "COMPLETED"


def test_findings_of_the_business(shop: Command, estoque: Database) -> None:
    """A rule that a row breaks: migrated all the same, exit 1, the finding in report and answer; --fix-issues, where
    the rule has a fix, leaves nothing."""
    estoque.execute(NEGATIVE)
    dry = shop("full", "--dry-run", "--fix-issues")
    assert dry.status == 0, dry.stderr
    assert estoque.rows("SELECT to_regnamespace('tenantry')") == [(None,)]
    answer = shop("full", "--json").json
    assert answer["exit_status"] == 1
    assert answer["migrate"]["applied"] > 100
    assert answer["validate"]["findings"] == [
        one for one in answer["validate"]["findings"] if one["severity"] == "info"
    ]
    report = only_report(shop.folder)
    assert report["verdict"] == "findings"
    found = {one["name"]: one for one in report["findings"] if one["family"] == "business"}
    assert any(one["count"] == 1 and one["samples"] for one in found.values())
    assert report["findings_counted"]["error"] + report["findings_counted"]["warning"] > 0


def test_refused_at_its_first_part(shop: Command, estoque: Database) -> None:
    """An undecided table: exit 4, and the report says in which part it stopped."""
    estoque.execute("CREATE TABLE unknown (id integer PRIMARY KEY)")
    outcome = shop("full")
    assert outcome.status == 4, outcome.stderr
    report = only_report(shop.folder)
    assert [(part["command"], part["outcome"]) for part in report["commands"]] == [("migrate", "")]
    assert report["verdict"] == "refused"
