"""API keys: nobody can guess one, and a typing error is told without asking anybody."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tenantry.model.api_key import DIGITS, ApiKey, checksum, hashed, lookup_part, new_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_new_key() -> None:
    """Eight characters, forty, and six that follow from the others; none like another."""
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert re.fullmatch("tk_[0-9A-Za-z]{8}_[0-9A-Za-z]{46}", key)
        assert checksum(key[:-6]) == key[-6:]
        assert lookup_part(key) == key[3:11]


def test_a_typing_error_is_seen() -> None:
    """Any one character that is another, and any two that are exchanged."""
    key = "tk_ABCDEFGH_" + DIGITS[:40]
    for place in range(3, len(key)):
        for other in "xY7":
            wrong = key[:place] + other + key[place + 1 :]
            assert wrong == key or checksum(wrong) != checksum(key)
    assert checksum(key[:5] + key[6] + key[5] + key[7:]) != checksum(key)


def test_the_checksum_is_crc_32_in_base_62() -> None:
    """As docs/contract.md has it; small numbers are filled up with zeros."""
    assert checksum("") == "000000"
    number = 0
    for digit in checksum("tk_12345678_x"):
        number = number * 62 + DIGITS.index(digit)
    assert number == zlib.crc32(b"tk_12345678_x")


def test_only_the_hash_is_stored() -> None:
    assert hashed("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("text", ["ABCD2345", "tk_ABCD2345", "tk_ABCD2345_" + "x" * 46])
def test_what_names_a_key(text: str) -> None:
    assert lookup_part(text) == "ABCD2345"


@pytest.mark.parametrize("text", ["", "tk_", "ABCD234", "ABCD23456", "ABCD234-", "ABCD234é", "tk_ABC_DEFGH"])
def test_what_names_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        lookup_part(text)


def test_no_secret_is_in_the_error() -> None:
    """Somebody who has pasted a whole key, wrongly, sees its beginning only."""
    with pytest.raises(ValueError, match="is not a key") as found:
        lookup_part("tk-" + "s" * 60)
    assert "s" * 12 not in str(found.value)


def test_a_lifetime() -> None:
    key = ApiKey(lookup="x", tenant="1", name="n", scopes=("read",), created_at=NOW, created_by="me")
    assert key.lifetime is None
    assert replace(key, ends_at=NOW + timedelta(days=9)).lifetime == timedelta(days=9)
