"""Access lists: what a restore is given, and that no name in it is more than a name."""

from __future__ import annotations

from tenantry.steps.acl import entries, restore
from unit.schemas import name

BEFORE = [
    {"on_column": None, "grantee": "it's", "grantor": "owner", "privilege": "SELECT", "grantable": False, "place": 1}
]


def test_the_list() -> None:
    """Of the relation and its columns, in their order."""
    text = entries(name("it's")).as_string(None)
    assert text.count("pg_catalog.to_regclass('\"public\".\"it''s\"')") == 2
    assert "WITH ORDINALITY" in text


def test_putting_it_back() -> None:
    """A block whose values are literals; only what is ours is taken from the role."""
    text = restore(name("a"), "TABLE", 'r"ole', before=BEFORE, granted=["SELECT"], revoked=["TRUNCATE"]).as_string(None)
    assert text.startswith("DO $tenantry$")
    assert text.endswith("$tenantry$")
    assert '"grantee": "it\'\'s"' in text
    assert '\'TABLE "public"."a"\'' in text
    assert "'r\"ole'" in text
    for listed in ("SELECT", "TRUNCATE"):
        assert f"{{{listed}}}" in text or f"['{listed}']" in text
