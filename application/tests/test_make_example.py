"""`make example`: what it prints is so, as root and as a user; and the database may go away and come back."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from serving import EXAMPLE, PATHS
from tenantry.postgres.cluster import Cluster
from tenantry.postgres.embedded import bin_directory

PORT = 18_000 + os.getpid() % 10_000


@contextmanager
def example(folder: Path, port: int, account: str | None = None) -> Iterator[tuple[list[str], subprocess.Popen[str]]]:
    """It runs; what it has printed until it serves."""
    process = subprocess.Popen(
        [*becoming(account), sys.executable, EXAMPLE / "run.py", "--folder", folder, "--port", str(port)],
        cwd=folder.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": PATHS, "PYTHONUNBUFFERED": "1", "HOME": str(folder.parent), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if line.startswith("All of it"):
                break
        else:
            raise AssertionError("\n".join(said))
        until(lambda: serves(port))
        yield said, process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def becoming(account: str | None) -> list[str]:
    """What lets a command run as an account that may read, and no more, where this Python is."""
    if account is None:
        return []
    known, reads = pwd.getpwnam(account), "+dac_read_search"
    return [
        "setpriv", f"--reuid={known.pw_uid}", f"--regid={known.pw_gid}", "--clear-groups",
        f"--inh-caps={reads}", f"--ambient-caps={reads}",
    ]  # fmt: skip


def serves(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
    except httpx.TransportError:
        return False


def until(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def check_lines(said: list[str]) -> int:
    """Each command prints what stands below it."""
    lines = [line.strip() for line in said]
    pairs = [(lines[at - 1], line.removeprefix("#-> ")) for at, line in enumerate(lines) if line.startswith("#-> ")]
    for command, expected in pairs:
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == expected, f"{command}: {done.stdout}{done.stderr}"
    return len(pairs)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that another account can reach, too."""
    folder = Path(tempfile.mkdtemp(prefix="tenantry-example-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_it_is_as_it_says(place: Path) -> None:
    """The printed lines; its database goes away, and comes back, without a restart; the second start is quick and has
    the same keys."""
    folder = place / "example"
    with example(folder, PORT) as (said, _):
        assert check_lines(said) == 10
        key = next(line for line in said if "X-API-Key: " in line).split("X-API-Key: ")[1].split("'")[0]
        base = f"http://127.0.0.1:{PORT}"

        def status(path: str = "/api/balances", key: str = key) -> int:
            return httpx.get(base + path, headers={"X-API-Key": key}, timeout=30).status_code

        assert status() == 200
        cluster = Cluster(programs=bin_directory(), folder=(folder / "server").absolute())
        for mode in ("fast", "immediate"):
            cluster.stop(mode)
            away = httpx.get(base + "/api/balances", headers={"X-API-Key": key}, timeout=30)
            assert (away.status_code, away.headers["content-type"]) == (503, "application/problem+json")
            assert int(away.headers["retry-after"]) > 0
            assert (status("/health/live"), status("/health/ready")) == (200, 503)
            cluster.start()
            until(lambda: status() == 200)
            until(lambda: status("/health/ready") == 200)
            assert status(key="tk_x") == 401
    with example(folder, PORT) as (again, _):
        assert [line for line in again if "curl" in line] == [line for line in said if "curl" in line]
        assert check_lines(again) == 10


@pytest.mark.nightly
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="becomes another account")
def test_as_a_user(place: Path) -> None:
    """Not root, with a folder of its own."""
    home = place / "home"
    home.mkdir()
    place.chmod(0o755)
    account = pwd.getpwnam("nobody")
    os.chown(home, account.pw_uid, account.pw_gid)
    with example(home / "example", PORT + 1, "nobody") as (said, _):
        assert check_lines(said) == 10
    assert (home / "example").stat().st_uid == account.pw_uid
