"""The tenant of the running task: blocks that nest, in threads, tasks, generators and foreign Contexts."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from uuid import UUID

import pytest

from tenantry_app import (
    CachedDirectory,
    FixedDirectory,
    InactiveTenant,
    InvalidKey,
    Tenant,
    TenantError,
    TenantRequired,
    UnknownTenant,
    configure,
    current,
    tenant,
    without_tenant,
)
from tenantry_app.setting import Setting


def key() -> str | None:
    """The current tenant's key, or None."""
    try:
        return current().key
    except TenantRequired:
        return None


def test_blocks_nest() -> None:
    assert key() is None
    with tenant("a") as entered:
        assert entered == current() == Tenant("a")
        with tenant(2):
            assert key() == "2"
            with without_tenant():
                assert key() is None
            assert key() == "2"
        assert key() == "a"
    assert key() is None


def test_an_error_ends_a_block() -> None:
    with pytest.raises(ZeroDivisionError), tenant("a"):
        _ = 1 / 0
    assert key() is None


def test_one_object_can_be_entered_again() -> None:
    block = tenant("a")
    with block, tenant("b"), block:
        assert key() == "a"
    with block:
        assert key() == "a"
    assert key() is None


@pytest.mark.parametrize("value", ["", "a\0", None, 1.5, True, b"a"])
def test_what_no_key_can_be(value: object) -> None:
    with pytest.raises(InvalidKey):
        tenant(value)  # type: ignore[arg-type]
    with pytest.raises(InvalidKey):
        Tenant(value)  # type: ignore[arg-type]


def test_the_text_of_keys() -> None:
    assert Tenant(UUID("00000000-0000-0000-0000-00000000ABCD")).key == "00000000-0000-0000-0000-00000000abcd"  # type: ignore[arg-type]
    assert Tenant(-7).key == "-7"  # type: ignore[arg-type]
    assert Tenant(" a ").key == " a "


# -- Threads and tasks


def test_threads_begin_without_a_tenant() -> None:
    with tenant("a"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(key).result() is None
        assert pool.submit(contextvars.copy_context().run, key).result() == "a"


def test_threads_do_not_meet() -> None:
    seen: list[str | None] = []
    barrier = threading.Barrier(8)

    def work(name: str) -> None:
        with tenant(name):
            barrier.wait()
            for _ in range(200):
                with tenant(name + "x"):
                    pass
                seen.append(key() if key() == name else "wrong")

    threads = [threading.Thread(target=work, args=[f"t{number}"]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "wrong" not in seen
    assert len(seen) == 1600


def test_tasks() -> None:
    async def child() -> str | None:
        await asyncio.sleep(0)
        return key()

    async def one(name: str) -> list[str | None]:
        async with tenant(name):
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
            with tenant(name + "x"):
                other = asyncio.create_task(child())
        return [await task, await other, key()]

    async def main() -> None:
        assert await asyncio.gather(*map(one, "abc")) == [[name, name + "x", None] for name in "abc"]

    asyncio.run(main())


# -- Generators


def rows(name: str) -> Iterator[str | None]:
    with tenant(name):
        for _ in range(3):
            yield key()


def test_a_generator_keeps_its_block_to_itself() -> None:
    with tenant("b"):
        for seen in rows("a"):
            assert (seen, key()) == ("a", "b")
    for seen in rows("a"):
        assert (seen, key()) == ("a", None)


def test_a_generator_that_is_resumed_in_another_block() -> None:
    generator = rows("a")
    assert next(generator) == "a"
    with tenant("b"):
        assert (next(generator), key()) == ("a", "b")
        with tenant("c"):
            assert (next(generator), key()) == ("a", "c")
            assert (next(generator, "end"), key()) == ("end", "c")
        assert key() == "b"
    assert key() is None


def test_interleaved_generators() -> None:
    one, two = rows("a"), rows("b")
    assert [next(one), key(), next(two), key(), next(one), next(two)] == ["a", None, "b", None, "a", "b"]
    one.close()
    assert [next(two), key()] == ["b", None]
    assert next(two, None) is None
    assert key() is None


@pytest.mark.parametrize("first", [0, 1])
def test_a_generator_inside_a_generator(first: int) -> None:
    def outer() -> Iterator[tuple[str | None, str | None]]:
        with tenant("outer"):
            if first:
                yield None, key()
            for seen in inner:
                yield seen, key()

    inner = rows("inner")
    if not first:
        next(inner)
    found = list(outer())
    assert {pair for pair in found if pair[0]} == {("inner", "outer")}
    assert key() is None


def test_delegation() -> None:
    def outer() -> Iterator[str | None]:
        with tenant("outer"):
            yield from rows("inner")
            yield key()

    generator = outer()
    assert [(seen, key()) for seen in generator] == [("inner", None)] * 3 + [("outer", None)]


def test_async_generators() -> None:
    async def numbers(name: str) -> AsyncIterator[str | None]:
        async with tenant(name):
            for _ in range(2):
                await asyncio.sleep(0)
                yield key()

    async def main() -> None:
        with tenant("b"):
            assert [(seen, key()) async for seen in numbers("a")] == [("a", "b")] * 2
        one, two = numbers("a"), numbers("b")
        assert [await anext(one), await anext(two), key(), await anext(one)] == ["a", "b", None, "a"]
        await one.aclose()  # type: ignore[attr-defined]
        assert [await anext(two), key()] == ["b", None]
        await two.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())


def test_an_abandoned_generator_is_closed_at_once() -> None:
    closed = []

    def generator() -> Iterator[None]:
        try:
            with tenant("a"):
                yield
        finally:
            closed.append(True)

    gc.disable()
    try:
        abandoned = generator()
        next(abandoned)
        gone = weakref.ref(abandoned)
        del abandoned
        assert (gone(), closed, key()) == (None, [True], None)
    finally:
        gc.enable()


def test_a_generator_that_is_suspended_is_named() -> None:
    generator = rows("a")
    next(generator)
    with pytest.raises(TenantRequired, match=r"generator rows .*contextmanager"):
        current()
    generator.close()


def test_context_managers_count_for_their_caller() -> None:
    @contextmanager
    def request() -> Iterator[None]:
        with tenant("a"):
            yield

    @contextmanager
    def nested() -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(request())
            yield

    with request():
        assert key() == "a"
    with nested():
        assert key() == "a"
    with ExitStack() as stack:
        stack.enter_context(tenant("b"))
        assert key() == "b"
    assert key() is None

    def generator() -> Iterator[str | None]:
        with nested():
            yield key()

    assert [(seen, key()) for seen in generator()] == [("a", None)]


def test_async_context_managers() -> None:
    @asynccontextmanager
    async def request() -> AsyncIterator[None]:
        async with tenant("a"):
            yield

    async def generator() -> AsyncIterator[str | None]:
        async with request():
            yield key()

    async def main() -> None:
        async with request():
            assert key() == "a"
        assert [(seen, key()) async for seen in generator()] == [("a", None)]

    asyncio.run(main())


@pytest.fixture
def as_a() -> Iterator[None]:
    with tenant("a"):
        yield


def test_fixtures(as_a: None) -> None:
    assert key() == "a"


# -- Foreign Contexts


def test_left_in_another_context() -> None:
    """As a framework does that enters and leaves in threads of its own: nothing fails, and nothing is left."""
    block, here = tenant("a"), contextvars.copy_context()
    here.run(block.__enter__)
    with tenant("b"):
        block.__exit__(None, None, None)
        assert key() == "b"
    assert here.run(key) is None


def test_a_generator_that_another_context_closes() -> None:
    generator, here = rows("a"), contextvars.copy_context()
    assert here.run(next, generator) == "a"
    generator.close()
    assert (here.run(key), key()) == (None, None)


# -- Decorators


def test_decorators() -> None:
    @tenant("a")
    def function() -> str | None:
        return key()

    @tenant("a")
    def generator() -> Iterator[str | None]:
        sent = yield key()
        assert sent == "sent"
        try:
            yield key()
        except ZeroDivisionError:
            yield f"caught as {key()}"

    @tenant("a")
    async def coroutine() -> str | None:
        await asyncio.sleep(0)
        return key()

    @tenant("a")
    async def async_generator() -> AsyncIterator[str | None]:
        yield key()
        yield key()

    async def main() -> None:
        assert await coroutine() == "a"
        assert [(seen, key()) async for seen in async_generator()] == [("a", None)] * 2

    assert function() == "a"
    made = generator()
    assert [next(made), key(), made.send("sent"), made.throw(ZeroDivisionError), key()] == [  # type: ignore[attr-defined]
        "a", None, "a", "caught as a", None,
    ]  # fmt: skip
    asyncio.run(main())


# -- The directory


def test_a_directory_finds_by_key_and_slug() -> None:
    acme, gone = Tenant("1", "acme"), Tenant("2", "gone", status="deleted")
    configure(directory=FixedDirectory(acme, gone))
    for name in ("acme", 1, "1", acme):
        with tenant(name):
            assert current() is acme
    with pytest.raises(UnknownTenant, match="'nobody'"), tenant("nobody"):
        pass
    with pytest.raises(InactiveTenant, match="'deleted'"), tenant("gone"):
        pass
    with pytest.raises(InactiveTenant), tenant(gone):
        pass
    assert key() is None


def test_a_cached_directory() -> None:
    asked: list[str] = []

    def find(name: str) -> Tenant | None:
        asked.append(name)
        return Tenant(name) if name != "nobody" else None

    directory = CachedDirectory(find, seconds=60, seconds_unknown=60, size=2)
    assert [directory.find(name) for name in ("a", "a", "nobody", "nobody")] == [Tenant("a")] * 2 + [None] * 2
    assert asked == ["a", "nobody"]
    directory.find("b")  # the oldest makes room
    directory.find("a")
    directory.forget("a")
    directory.find("a")
    assert asked == ["a", "nobody", "b", "a", "a"]
    impatient = CachedDirectory(find, seconds=0, seconds_unknown=0)
    asked.clear()
    _ = impatient.find("a"), impatient.find("a")
    assert asked == ["a", "a"]


def test_an_asynchronous_directory() -> None:
    asked: list[str] = []

    async def find(name: str) -> Tenant | None:
        await asyncio.sleep(0)
        asked.append(name)
        return Tenant(name, "slug")

    configure(directory=CachedDirectory(find))

    async def main() -> None:
        for _ in range(2):
            async with tenant("a") as found:
                assert found == current() == Tenant("a", "slug")
        assert asked == ["a"]

    with pytest.raises(TenantError, match="async with"), tenant("a"):
        pass
    asyncio.run(main())


# -- The setting


def test_settings() -> None:
    with pytest.raises(ValueError, match="words with dots"):
        configure(setting="tenant")
    with pytest.raises(ValueError, match="words with dots"):
        configure(setting="app.x'; DROP TABLE x; --")
    assert Setting("a.b").set_local("it's") == """SET LOCAL "a"."b" = E'it''s'"""


def test_what_a_decorated_generator_waits_for() -> None:
    """Threads and tasks that it hands work to are the tenant's, while it is suspended itself."""

    @tenant("a")
    async def generator() -> AsyncIterator[str | None]:
        yield await asyncio.to_thread(key)
        yield await asyncio.create_task(child())

    async def child() -> str | None:
        await asyncio.sleep(0)
        return key()

    async def main() -> None:
        assert [(seen, key()) async for seen in generator()] == [("a", None)] * 2

    asyncio.run(main())
