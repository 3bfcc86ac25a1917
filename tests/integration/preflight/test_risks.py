"""What plan prints as risks is what the run and its dry run find."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Command
from tenantry import MigrateOptions, plan, preview
from tenantry.errors import Failed
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]
SALES = """
CREATE TABLE shops (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants);
CREATE TABLE sales (id integer PRIMARY KEY, shop integer NOT NULL REFERENCES shops, total integer);
CREATE VIEW totals AS SELECT shop, sum(total) FROM sales GROUP BY shop;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER note AFTER UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE sales REPLICA IDENTITY NOTHING;
CREATE PUBLICATION everything FOR ALL TABLES;
INSERT INTO shops VALUES (1, 1), (2, 2);
INSERT INTO sales VALUES (1, 1, 5), (2, 2, 6);
"""
TABLES = """
[[table]]
name = "shops"
paths = [["owner"]]
[[table]]
name = "sales"
paths = [["shop"]]
"""


def test_the_same_list(business: Business) -> None:
    """All findings of all phases, and the first that refuses; and nothing once they are gone."""
    shop = business(SALES, TABLES)
    planned = plan(shop.target, shop.spec)
    foreseen = preview(shop.target, shop.spec, MigrateOptions(until=Phase.CONTRACT))
    assert planned.findings == foreseen.findings
    names = {finding.name for finding in planned.findings}
    assert {"fill-fires-after-trigger", "publication-refuses-updates", "publication-grows"} <= names
    assert planned.refusal is not None
    assert foreseen.refusal is not None
    assert planned.refusal.message == foreseen.refusal.message
    shop.execute("DROP PUBLICATION everything; DROP TRIGGER note ON sales")
    planned = plan(shop.target, shop.spec)
    assert planned.refusal is None
    assert not any(finding.refuses for finding in planned.findings)


def test_it_is_printed(business: Business, command: Callable[[str], Command]) -> None:
    """Behind the steps, and in the documents; the plan is there all the same."""
    shop = business(SALES, TABLES)
    run = command(shop.database.dsn)
    text = f'version = 1\n[tenant]\ntable = "tenants"\n[application]\nrole = "{shop.application}"\n{TABLES}'
    (run.folder / "tenantry.toml").write_text(text)
    said = run("plan")
    assert said.status == 0
    assert "makes every UPDATE fail" in said.stdout + said.stderr
    assert "migrate would refuse" in said.stdout + said.stderr
    document, alone = run("plan", "--json").json, json.loads(run("plan", "--format", "json").stdout)
    assert document["findings"] == alone["findings"]
    assert "publication-refuses-updates" in {finding["name"] for finding in alone["findings"]}


def test_a_role_that_may_only_look(business: Business, role: Callable[..., str]) -> None:
    """It sees the plan, and that it may not carry it out."""
    shop = business(SALES, TABLES)
    looker = role("LOGIN")
    planned = plan(shop.target.__class__(f"{shop.database.dsn} user={looker}"), shop.spec)
    assert planned.steps
    assert planned.refusal is not None
    assert any(finding.name.startswith("privilege-") for finding in planned.findings)


@pytest.mark.parametrize(
    ("raised", "remedy"),
    [("feature_not_supported", "Correct what the server reports"), ("insufficient_resources", "Run the same command")],
)
def test_to_run_it_again_is_said_where_it_may_help(business: Business, raised: str, remedy: str) -> None:
    """What the server refuses for good is refused again."""
    shop = business(SALES.replace("CREATE PUBLICATION", "--"), TABLES)
    shop.execute(f"""
        CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS
          $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{raised}', MESSAGE = 'not today'; END $$;
        CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TRIGGER') EXECUTE FUNCTION refuse()
    """)
    try:
        with pytest.raises(Failed, match="not today") as failed:
            shop.migrate(Phase.EXPAND)
    finally:
        shop.execute("DROP EVENT TRIGGER refuse")
    assert remedy in failed.value.remedy
    shop.migrate(Phase.EXPAND)
