"""Standard output that is closed, full, or of an old encoding: the run does what it was asked, and says what it can."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from conftest import ROOT, Command, Outcome
from servers import Database


def redirected(shop: Command, words: str, **environment: str) -> Outcome:
    """The command as a shell runs it: `words` are its arguments and where its output goes."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m tenantry {words}', sys.executable],
        cwd=shop.folder, capture_output=True, timeout=120, stdin=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "DATABASE_URL": shop.dsn} | environment,
    )  # fmt: skip
    return Outcome(status=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode(), seconds=0)


def test_closed(shop: Command, estoque: Database) -> None:
    """Nobody is there to be told, and the migration goes to its end; no file gets the number of the closed stream."""
    outcome = redirected(shop, "migrate --until expand >&- 2>&-")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert redirected(shop, "status --json").stdout.startswith('{\n  "command": "status"')
    assert estoque.rows("SELECT count(*) > 0 FROM tenantry.steps WHERE state = 'done'") == [(True,)]
    assert redirected(shop, "--help >&-").status == 0


@pytest.mark.parametrize("words", ["status", "validate --json", "--help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full(shop: Command, words: str, unbuffered: str) -> None:
    """Whoever reads a file that is not whole must not take it for an answer: exit 5, and why."""
    outcome = redirected(shop, f"{words} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert outcome.status == 5, outcome.stderr
    assert outcome.stderr == (
        "tenantry: standard output cannot be written: No space left on device. The command itself was executed.\n"
    )


def test_old_encoding(shop: Command, estoque: Database) -> None:
    """A file gets UTF-8, whatever the locale: the spec that discover prints, and JSON, can be read again."""
    assert redirected(shop, "status", PYTHONIOENCODING="ascii", PYTHONUTF8="0").stdout.count("–") > 3
    estoque.execute('ALTER TABLE escolas RENAME CONSTRAINT escolas_nome_key TO "nome–único"')
    outcome = redirected(shop, "discover", PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    assert outcome.status == 0, outcome.stderr
    assert 'unique = ["nome–único"]' in outcome.stdout
