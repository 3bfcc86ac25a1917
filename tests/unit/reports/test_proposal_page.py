"""The page of a proposal: all that is known, and nothing of it markup."""

from __future__ import annotations

import html
import re
from dataclasses import replace

from tenantry.model.evidence import Evidence, Sample
from tenantry.reports.proposal_page import SAMPLES, proposal_html
from unit.discovery.answering import Rows, proposed
from unit.planning.shop import PRODUCTS, STORES
from unit.schemas import name, table

EVIL = "</script><img src=x onerror=alert(1)>"


def page() -> str:
    sales = table("sales", "store_id? > stores", "other_id? > stores")
    made = proposed(STORES, sales, replace(PRODUCTS, name=name(EVIL)),
                    given={"sales": Rows(conflicts=30, paths={"other_id": (10, 5)})})  # fmt: skip
    samples = tuple(
        Sample(key={"id": f"{number}</td>", "n": None}, tenants={"store_id": ("<b>b</b>",), "other_id": ("a",)})
        for number in range(SAMPLES + 5)
    )
    evidence = made.evidence.tables[sales.name]
    tables = {**made.evidence.tables, sales.name: replace(evidence, conflict_samples=samples)}
    return proposal_html(replace(made, evidence=Evidence(tables=tables)))


def test_what_stands_in_it() -> None:
    """Each table with its line of the spec, the questions, and rows that lead to several tenants."""
    text = page()
    for words in ("1 owned, 2 undecided", "disagree in 30 of 10 rows", "Rows that lead to several tenants",
                  "paths = [[&#34;tenant_id&#34;]]", "&lt;b&gt;b&lt;/b&gt;", "0&lt;/td&gt;", "NULL", "… and 20 more"):  # fmt: skip
        assert words in text, words
    assert len(re.findall(r'<g class="\w+" data-table', text)) == 4


def test_no_markup_and_no_network() -> None:
    text = page()
    assert "<img" not in text
    assert text.count("<script>") == text.count("</script>") == 1
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"|https?://", text) == []
    assert "default-src 'none'" in html.unescape(text)
    assert page() == text
