"""Celery: a task is the tenant's in whose block it was sent; without a header it has none."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.contrib.testing.worker import start_worker

from tenantry_app import FixedDirectory, Tenant, TenantError, TenantRequired, configure, current, tenant
from tenantry_app.carrier import HEADER, incoming, outgoing
from tenantry_app.celery import FOR_EACH, use_tenants

pytestmark = pytest.mark.filterwarnings("ignore")  # Celery's own


def make(**settings: Any) -> Celery:
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(task_always_eager=False, worker_hijack_root_logger=False, **settings)
    use_tenants(app, tenants=lambda: ["a", "b", "c"])
    return app


app = make()
seen: list[str | None] = []


def key() -> str | None:
    try:
        return current().key
    except TenantError as error:
        return type(error).__name__


@app.task
def whose(*_: Any) -> str | None:
    seen.append(key())
    return key()


@app.task
def all_of(results: list[str | None]) -> list[str | None]:
    return [*results, key()]


@app.task(bind=True, max_retries=3, default_retry_delay=0)
def retried(self: Any) -> str | None:
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return key()


@app.task
def failing() -> None:
    raise ZeroDivisionError


@pytest.fixture(scope="module")
def worker() -> Iterator[None]:
    with start_worker(app, pool="threads", concurrency=3, perform_ping_check=False):
        yield


def test_headers_travel(worker: None) -> None:
    sent = []
    for name in "abcabc":
        with tenant(name):
            sent.append((name, whose.delay(), retried.delay()))
    old = whose.delay()
    for name, one, other in sent:
        assert one.get(timeout=20) == name
        assert other.get(timeout=20) == name
    assert old.get(timeout=20) == "TenantRequired"


def test_canvases(worker: None) -> None:
    with tenant("a"):
        results = [
            chain(whose.s(), whose.s()).delay(),
            chord([whose.s(), whose.s()], all_of.s()).delay(),
            group(whose.s() for _ in range(3)).delay(),
        ]
    assert [result.get(timeout=30) for result in results] == ["a", ["a", "a", "a"], ["a", "a", "a"]]


def test_no_header_is_never_the_last_tenant(worker: None) -> None:
    """On threads that have just run a task, a failed one too, of a tenant."""
    for _ in range(3):
        with tenant("a"):
            with pytest.raises(ZeroDivisionError):
                failing.delay().get(timeout=20)
            assert whose.delay().get(timeout=20) == "a"
        assert {whose.delay().get(timeout=20) for _ in range(3)} == {"TenantRequired"}


def test_tenants_that_are_no_more(worker: None) -> None:
    with tenant("a"):
        one = whose.apply_async(countdown=0)
        assert one.get(timeout=20) == "a"
        configure(directory=FixedDirectory(Tenant("b", status="deleted")))
        assert whose.delay().get(timeout=20) == "UnknownTenant"
    with tenant(Tenant("c")):
        pass
    assert whose.apply_async(headers={HEADER: "b"}).get(timeout=20) == "InactiveTenant"


def test_for_each_tenant(worker: None) -> None:
    seen.clear()
    assert app.tasks[FOR_EACH].delay(whose.name).get(timeout=20) == 3
    for _ in range(400):
        if len(seen) == 3:
            break
        time.sleep(0.05)
    assert sorted(map(str, seen)) == ["a", "b", "c"]


def test_eager() -> None:
    eager = make()
    eager.conf.task_always_eager = True

    @eager.task(name="eager")
    def task() -> str | None:
        return key()

    with tenant("a"):
        assert task.delay().get() == "a"
    assert task.delay().get() == "TenantRequired"


def test_a_carrier_for_others() -> None:
    assert outgoing() == {}
    with tenant("a"):
        headers = outgoing()
    assert headers == {HEADER: "a"}
    with tenant("b"):
        with incoming(headers):
            assert current().key == "a"
        for nothing in ({}, None, {"other": "x"}):
            with incoming(nothing), pytest.raises(TenantRequired):
                current()
    configure(directory=FixedDirectory())
    with pytest.raises(TenantError, match="no tenant 'a'"), incoming(headers):
        pass


WORKER = """
import sys
from celery import Celery
from tenantry_app import TenantError, current
from tenantry_app.celery import use_tenants

folder = sys.argv.pop() if len(sys.argv) > 1 and sys.argv[-1].startswith("/") else FOLDER
app = Celery("shop", broker="filesystem://", backend="file://" + folder + "/results")
app.conf.broker_transport_options = {"data_folder_in": folder + "/q", "data_folder_out": folder + "/q", "control_folder": folder + "/c"}
use_tenants(app)

@app.task(name="whose")
def whose():
    try:
        return current().key
    except TenantError as error:
        return type(error).__name__
"""


def test_processes(tmp_path: Path) -> None:
    """A worker of processes, by messages on a disk."""
    for name in ("q", "c", "results"):
        (tmp_path / name).mkdir()
    (tmp_path / "shop_worker.py").write_text(WORKER.replace("FOLDER", repr(str(tmp_path))))
    source = str(Path(__file__).parents[1] / "src")
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "shop_worker",
        "worker",
        "--pool",
        "prefork",
        "-c",
        "2",
        "-l",
        "error",
    ]
    process = subprocess.Popen(
        [*command, "--without-mingle", "--without-gossip", "--without-heartbeat"],
        cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{source}", "PATH": "/usr/bin:/bin", "C_FORCE_ROOT": "1"},
    )  # fmt: skip
    client: dict[str, Any] = {}
    try:
        exec(WORKER.replace("FOLDER", repr(str(tmp_path))), client)
        sent = []
        for name in ("a", "b", None) * 3:
            if name is None:
                sent.append(("TenantRequired", client["whose"].delay()))
            else:
                with tenant(name):
                    sent.append((name, client["whose"].delay()))
        for expected, result in sent:
            assert result.get(timeout=60) == expected
    finally:
        process.terminate()
        process.wait(30)
