"""What a spec may say: each part by itself, and what it may not say together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantry.errors import UsageError
from tenantry.model.backup import MAX_SIZE
from tenantry.model.spec import Orphans, Spec, is_slug
from tenantry.presets import PRESETS, spec_path

TENANT = '[tenant]\ntable = "tenants"\n'


def parsed(more: str = "", *, tenant: str = "") -> Spec:
    return Spec.parse(f"{TENANT}{tenant}\n{more}")


def refusal(more: str = "", *, tenant: str = "") -> str:
    with pytest.raises(UsageError) as found:
        parsed(more, tenant=tenant)
    return " | ".join((found.value.message, *found.value.details))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: str) -> None:
    path = spec_path(preset)
    assert Spec.read(path).path == path


def test_what_is_not_said() -> None:
    spec = parsed()
    assert (spec.schemas, spec.tenant.column, spec.tenant.setting) == (("public",), "tenant_id", "app.tenant_id")
    assert (spec.application.role, spec.operator.role, spec.backup.max_size) == ("tenantry_app", None, MAX_SIZE)
    assert spec.path is None


def test_hops() -> None:
    """A hop is a column, or the list of several."""
    (table,) = parsed('[[table]]\nname = "t"\npaths = [["a", ["b", "c"]], ["d"]]').table
    assert table.paths == ((("a",), ("b", "c")), (("d",),))
    assert table.orphans is Orphans.FAIL


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("", "is empty: set paths"),
        ('paths = [["a"]]\nshared = true', "a shared table has no paths"),
        ('paths = [["a"]]\nassign = { tenant = "x" }', "set paths and children, or assign, not both"),
        ('shared = true\nunique = ["k"]', "a shared table has no"),
        ('shared = true\norphans = "default"', "a shared table has no"),
        ('shared = "read"', "'write'"),
        ('membership = "l"\npaths = [["a"]]', "a table with membership has no paths"),
        ('membership = "l"\ncolumn = "c"', "a table with membership has no paths"),
        ('paths = [["a"]]\nwritable = true', "writable needs membership"),
        ("assign = {}", "give exactly one of csv, column, sql or tenant"),
        ('assign = { tenant = "x", column = "c" }', "give exactly one of csv, column, sql or tenant"),
        ('paths = [["a"]]\norphans = "ignore"', "'fail', 'default', 'quarantine' or 'shared'"),
        ('path = [["a"]]', "the key 'path' is unknown; did you mean \"paths\"?"),
    ],
)
def test_what_a_table_may_not_say(part: str, words: str) -> None:
    said = refusal(f'[[table]]\nname = "t"\n{part}')
    assert "[[table]] 't'" in said
    assert words in said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('[[reference]]\nfrom = "a.b"', "set to, the table.column"),
        ('[[reference]]\nfrom = "a.b"\nto = "c.d"\ncrosses = "maybe"', "crosses"),
        ('[[rule]]\nname = "r"\ntable = "t"', "set violates"),
        ('[[rule]]\nname = "r"\ntable = "t"\nviolates = "x"\nquery = "y"', "set violates"),
        ('[[rule]]\nname = "r"\ntable = "t"\nquery = "y"\nfix = "a = 1"', "only a rule with violates can have a fix"),
        ('[[rule]]\nname = "r"\ntable = "t"\nviolates = "x"\nfix = "a"', "a fix has the form"),
        ('[[rule]]\nname = "R r"\ntable = "t"\nviolates = "x"', "joined by hyphens"),
        ('[[rule]]\nname = "r"\ntable = "t"\nviolates = "x"\n' * 2, "two rules have the name 'r'"),
        ('[[accept]]\ncheck = "x"\nreason = ""', "at least 1 character"),
        ('[[ledger]]\ntable = "t"\nbalance = "b"\nkey = []', "at least 1 item"),
        (
            '[[ledger]]\ntable = "t"\nbalance = "b"\nkey = ["k"]\nnon_negative = true\nhot_keys = 2',
            "set hot_keys = 0",
        ),
        ('[[ledger]]\ntable = "t"\nbalance = "b"\nkey = ["k"]\nhot_keys = 1001', "less than or equal to 1000"),
        ('[backup]\nmax_size = "much"', "is not a size; write 500MB or 1GB"),
        ("[backup]\nmax_size = 0", "greater than 0"),
        ("[locks]\ntimeout = 0", "greater than 0"),
        ("[limits]\nlargest_share = 1.5", "less than or equal to 1"),
        ("[housekeeping]\nbackups_kept = 0", "greater than or equal to 1"),
        ("[elsewhere]", "the key 'elsewhere' is unknown"),
    ],
)
def test_what_other_parts_may_not_say(more: str, words: str) -> None:
    assert words in refusal(more)


@pytest.mark.parametrize(
    ("tenant", "words"),
    [
        ('setting = "tenant"', "words with dots: app.tenant_id"),
        ('setting = "app.tenant-id"', "words with dots"),
        ('rows = [{ slug = "a" }, { slug = "a" }]', "two of the rows have the slug 'a'"),
        ('rows = [{ slug = " a" }]', "a short name without spaces at its ends"),
        ('rows = [{ slug = "a", name = "" }]', "at least 1 character"),
    ],
)
def test_what_the_tenant_may_not_be(tenant: str, words: str) -> None:
    assert words in refusal(tenant=tenant)


def test_sizes() -> None:
    assert parsed('[backup]\nmax_size = "1.5GB"').backup.max_size == 3 << 29
    assert parsed("[backup]\nmax_size = 5").backup.max_size == 5


def test_all_that_is_wrong_is_said() -> None:
    """The first in the message, the others behind it."""
    said = refusal("schema = 1\n[locks]\ntimeout = -1\nbudget = -1")
    assert said.count("greater than 0") == 2


def test_files(tmp_path: Path) -> None:
    """One that is not there, that is no text, or that is no TOML: each with its name."""
    path = tmp_path / "tenantry.toml"
    for written, words in (
        (None, "cannot read the spec"), (b"\xff", "is not UTF-8 text"), (b"[tenant", "is not TOML"),
        (b"", "this key is missing"),
    ):  # fmt: skip
        if written is not None:
            path.write_bytes(written)
        with pytest.raises(UsageError) as found:
            Spec.read(path)
        assert str(path) in found.value.message
        assert words in found.value.message
    path.write_text(TENANT)
    assert Spec.read(path).path == path


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("north", True),
        ("a b", True),
        ("日本", True),
        ("", False),
        (" ", False),
        ("a ", False),
        ("a\nb", False),
        ("a\0", False),
    ],
)
def test_slugs(text: str, *, can: bool) -> None:
    assert is_slug(text) == can
