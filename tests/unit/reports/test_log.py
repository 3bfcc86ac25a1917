"""The log: each event with its facts, and no secret, whatever its form."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg.conninfo import make_conninfo

from tenantry.postgres.dsn import secrets
from tenantry.reports.log import Log

PASSWORDS = ("s3cr3t", "p@ss/w:rd", "it's \\ secret", 'quo"ted', "50%off", "ünïcode ü")


def lines(folder: Path) -> list[dict[str, object]]:
    (path,) = folder.rglob("*.log")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("form", ["url", "pairs"])
def test_no_secret_in_any_form(tmp_path: Path, password: str, form: str) -> None:
    """In words, in a connection string of either form, in a traceback, inside of structures."""
    url = f"postgresql://maria:{quote(password, safe='')}@shop.example/db"
    pairs = make_conninfo(user="maria", password=password, host="shop.example")
    log = Log(tmp_path, command="migrate", run="1", secrets=secrets(url if form == "url" else pairs))
    log.write("said", words=f"the password is {password}", url=url, pairs=pairs, deep=[{"detail": f"({password})"}])
    try:
        raise ValueError(f"{password} {url} {pairs} {password!r}")
    except ValueError as error:
        log.failure(error, detail=repr(password))
    log.close()
    (path,) = tmp_path.glob("*.log")
    for line in path.read_text().splitlines():
        text = json.dumps(json.loads(line), ensure_ascii=False)
        for shown in (password, quote(password, safe=""), json.dumps(password, ensure_ascii=False)[1:-1]):
            assert shown not in text
        assert "****" in text


def test_a_short_password_leaves_the_log_readable(tmp_path: Path) -> None:
    """It is masked where it stands as a word of its own; in the middle of other words a mask would tell it."""
    log = Log(tmp_path, command="migrate", run="20260101000000-0a0b0c0d", secrets=("0",))
    log.write("step applied", title="10 rows", url="postgresql://maria:0@shop", found=["0"])
    log.close()
    (line,) = lines(tmp_path)
    assert (line["run"], line["event"], line["title"]) == ("20260101000000-0a0b0c0d", "step applied", "10 rows")
    assert (line["url"], line["found"]) == ("postgresql://maria:****@shop", ["****"])


def test_a_password_that_is_a_word_of_ours(tmp_path: Path) -> None:
    """What no outside text comes into stays as it is."""
    log = Log(tmp_path, command="migrate", run="1", secrets=("migrate", "info", "applied"))
    log.write("applied", said="migrate", level="info")
    log.close()
    (line,) = lines(tmp_path)
    assert [line[name] for name in ("command", "event", "level", "said")] == ["migrate", "applied", "info", "****"]
