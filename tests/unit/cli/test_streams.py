"""Standard output that cannot take what it is told: the run goes on, and the exit status says so at its end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tenantry.cli.streams import Output, ended, make_ready
from tenantry.errors import ExitStatus


@pytest.mark.parametrize(
    ("status", "becomes"),
    [
        (ExitStatus.DONE, ExitStatus.FAILED),
        (ExitStatus.FINDINGS, ExitStatus.FAILED),
        (ExitStatus.REFUSED, ExitStatus.REFUSED),
    ],
)
def test_a_full_disk(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: ExitStatus, becomes: ExitStatus
) -> None:
    """It is told as a reader that has gone away is; what was asked is done."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123 (a device)
        stream = Output(full, encoding="utf-8", line_buffering=True)
        with pytest.raises(BrokenPipeError):
            stream.write("x" * 10_000 + "\n")
        monkeypatch.setattr(sys, "stdout", stream)
        assert ended(status) is becomes
        assert ("No space left" in capsys.readouterr().err) == (becomes is not status)


def test_every_character(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the encoding of the environment; a stream that is closed takes all, and keeps none."""
    path = tmp_path / "out"
    monkeypatch.setattr(sys, "stdout", path.open("w", encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", None)
    make_ready()
    print("é 日 \udcff", flush=True)
    print("nothing", file=sys.stderr)
    assert path.read_text(encoding="utf-8") == "é 日 \\udcff\n"
    sys.stdout.close()
    sys.stderr.close()
