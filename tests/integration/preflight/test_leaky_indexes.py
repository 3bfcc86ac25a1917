"""Indexes that nobody behind a policy can use are named before there is one, with what helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tenantry import MigrateOptions, preview
from tenantry.model.plan import Phase

pytestmark = pytest.mark.server

Business = Callable[..., Any]
PAPERS = """
CREATE TABLE papers (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES tenants, body text NOT NULL, at date,
  facts jsonb NOT NULL, price numeric, words tsvector GENERATED ALWAYS AS (to_tsvector('simple', body)) STORED);
INSERT INTO papers SELECT g, CASE WHEN g % 50 = 0 THEN 2 ELSE 1 END, 'word' || g, '2026-01-01',
  jsonb_build_object('k', g), g FROM generate_series(1, 20000) g;
CREATE INDEX by_words ON papers USING gin (words);
CREATE INDEX by_facts ON papers USING gin (facts jsonb_path_ops);
CREATE INDEX by_price ON papers (price);
CREATE INDEX by_body ON papers (body);
CREATE INDEX by_date ON papers (at, price);
ANALYZE papers;
"""
TABLES = """
[[table]]
name = "papers"
paths = [["owner"]]
"""
FOUND = {
    "by_words": "words @@ to_tsquery('simple', 'word777')",
    "by_facts": """facts @> '{"k": 777}'""",
    "by_price": "price = 777",
}


def test_named_with_what_helps(business: Business) -> None:
    """And only those: as the application each is passed by, until its functions are leakproof."""
    shop = business(PAPERS, TABLES)
    before = {name: shop.rows(f"EXPLAIN SELECT id FROM papers WHERE {asked}") for name, asked in FOUND.items()}
    assert all(name in str(plan) for name, plan in before.items())
    found = preview(shop.target, shop.spec, MigrateOptions(until=Phase.ISOLATE)).findings
    leaky = {finding.message.split()[2]: finding for finding in found if finding.name == "index-behind-policies"}
    assert leaky.keys() == FOUND.keys()
    assert not any(finding.refuses for finding in leaky.values())
    shop.migrate(Phase.ISOLATE)

    def used(name: str, asked: str) -> bool:
        with shop.connect() as session:
            session.execute(f"SET ROLE {shop.application}; SET app.tenant_id = '1'")
            plan = session.execute(f"EXPLAIN SELECT id FROM papers WHERE {asked}").fetchall()
        return name in str(plan)

    for name, asked in FOUND.items():
        assert not used(name, asked)
        # Rolled back with the database's drop: functions of the catalog are each database's own.
        shop.execute(leaky[name].remedy.partition("superuser: ")[2].removesuffix("."))
        assert used(name, asked)


def test_nothing_before_isolate(business: Business) -> None:
    """A run that ends before puts no index out of use."""
    shop = business(PAPERS, TABLES)
    found = preview(shop.target, shop.spec, MigrateOptions(until=Phase.ENFORCE)).findings
    assert "index-behind-policies" not in {finding.name for finding in found}
