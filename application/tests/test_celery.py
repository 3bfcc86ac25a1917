"""Celery: a task is the tenant's in whose block it was sent; without a header it has none."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.contrib.testing.worker import start_worker

from daily import nightly
from servers import wait_until
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
    with pytest.raises(TenantError, match="the tenant 'a' does not exist"), incoming(headers):
        pass


WORKER = """
from celery import Celery
from tenantry_app import FixedDirectory, Tenant, TenantError, configure, current
from tenantry_app.celery import use_tenants

app = Celery("shop", broker=BROKER, backend=BACKEND)
app.conf.update(broker_transport_options=OPTIONS, worker_prefetch_multiplier=1)
use_tenants(app)
configure(directory=FixedDirectory(Tenant("a"), Tenant("b"), Tenant("c", status="deleted")))

@app.task
def whose(*_):
    try:
        return current().key
    except TenantError as error:
        return type(error).__name__

@app.task
def all_of(results):
    return [*results, whose()]

@app.task(bind=True, max_retries=3)
def retried(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return whose()

@app.task
def failing():
    raise ZeroDivisionError(whose())
"""
OLD = """
import sys
from celery import Celery

app = Celery("shop", broker=sys.argv[1], backend=sys.argv[2])
app.conf.broker_transport_options = eval(sys.argv[3])
print(app.send_task("shop_worker.whose").id)
"""
"""What the application was before it knew of tenants."""


@dataclass(frozen=True)
class Broker:
    url: str
    backend: str
    options: dict[str, str]


@contextmanager
def files() -> Iterator[Broker]:
    """Messages on a disk."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("queue", "control", "results"):
            Path(folder, name).mkdir()
        options = {"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"}
        yield Broker(
            "filesystem://", f"file://{folder}/results", {key: f"{folder}/{name}" for key, name in options.items()}
        )


@contextmanager
def redis() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder, "redis")
        process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_until(socket.exists)
            yield Broker(f"redis+socket://{socket}", f"redis+socket://{socket}", {})
        finally:
            process.terminate()
            process.wait()


@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("broker", [pytest.param(redis, marks=pytest.mark.redis), nightly(files)])
def test_processes(broker: Callable[[], AbstractContextManager[Broker]], pool: str, tmp_path: Path) -> None:
    """A worker that is a process of its own: retries, chains, chords, messages from before there were tenants."""
    with broker() as place:
        source = WORKER.replace("BROKER", repr(place.url)).replace("BACKEND", repr(place.backend))
        (tmp_path / "shop_worker.py").write_text(source.replace("OPTIONS", repr(place.options)))
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "shop_worker",
            "worker",
            "--pool",
            pool,
            "-c",
            "2",
            "-l",
            "error",
        ]
        environment = {
            "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1] / 'src'}", "PATH": "/usr/bin:/bin", "C_FORCE_ROOT": "1",
        }  # fmt: skip
        process = subprocess.Popen(
            [*command, "--without-mingle", "--without-gossip", "--without-heartbeat"], cwd=tmp_path, env=environment
        )
        client: dict[str, Any] = {"__name__": "shop_worker"}
        try:
            exec((tmp_path / "shop_worker.py").read_text(), client)
            whose, all_of, retried, failing = (client[name] for name in ("whose", "all_of", "retried", "failing"))
            old = subprocess.run(
                [sys.executable, "-c", OLD, place.url, place.backend, repr(place.options)],
                check=True, capture_output=True, text=True, env=environment,
            ).stdout.strip()  # fmt: skip
            sent: list[tuple[Any, Any]] = [("TenantRequired", client["app"].AsyncResult(old))]
            for name in ("a", "b", None) * 3:
                with tenant(name) if name else nullcontext():
                    key = name or "TenantRequired"
                    failing.delay()
                    sent += [(key, whose.delay()), (key, retried.delay()), (key, chain(whose.s(), whose.s()).delay())]
                    sent.append(([key] * 3, chord([whose.s(), whose.s()], all_of.s()).delay()))
            sent += [
                ("InactiveTenant", whose.apply_async(headers={HEADER: "c"})),
                ("UnknownTenant", whose.apply_async(headers={HEADER: "d"})),
            ]
            for expected, result in sent:
                assert result.get(timeout=60) == expected
        finally:
            process.terminate()
            process.wait(30)
