"""The tenant of the running task.

One context variable holds the blocks that have been entered. A thread begins without any; an asyncio task begins with
those of the task that created it. A context variable alone would be wrong in three cases, which are handled here:

- A generator shares the variable with the code that iterates over it. So a block that a generator has entered is active
  only while the generator runs, and not in its consumer between two items. This does not apply to generators that
  contextlib and pytest make into context managers: the consumer has asked for what they enter.
- A block can be left in another Context than it was entered in, as generators are when another task closes them. It is
  then ended in all copies of the Context.
- Blocks of interleaved generators are not left in the order in which they were entered. So each removes itself, and not
  the blocks entered after it.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, TypeVar, cast

from tenantry_app.errors import InactiveTenant, TenantError, TenantRequired, UnknownTenant
from tenantry_app.setting import Setting
from tenantry_app.tenants import ACTIVE, Directory, Found, Name, Tenant, key_text

_F = TypeVar("_F", bound=Callable[..., Any])
_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_BORROWED = frozenset({"contextlib", "_pytest.fixtures", "pytest_asyncio.plugin", "anyio.pytest_plugin"})
"""The modules that run a generator up to its `yield` so that the block it has entered is active for the code that
follows."""


@dataclass(slots=True)
class _Configuration:
    setting: Setting
    directory: Directory | None


_configuration = _Configuration(Setting(), None)


def configure(*, setting: str | None = None, directory: Directory | None = None) -> None:
    """Configure the entire process. To be called once, before the first block; parameters that are left out have their
    defaults.

    `setting`: `setting` under [tenant] in tenantry.toml, "app.tenant_id" by default; ValueError if it is not valid.
    `directory`: looks up the keys and slugs that blocks are entered with; without one, each text is taken for a key.
    """
    _configuration.setting = Setting() if setting is None else Setting(setting)
    _configuration.directory = directory


def setting() -> Setting:
    """The setting that this process uses."""
    return _configuration.setting


def directory() -> Directory | None:
    """The directory that this process uses; None: each text is a key."""
    return _configuration.directory


class EnteredBlock:
    """The value of the setting that the statements of a block need: one entered block."""

    __slots__ = ("block", "ended", "owner", "read_only", "refusal", "setting", "tenant", "value")

    def __init__(self, block: _Block, tenant: Tenant | None, read_only: bool, owner: FrameType | None) -> None:
        self.block = block
        self.refusal = block.refusal
        self.tenant = tenant
        self.value = "" if tenant is None else tenant.key
        """The setting's value; empty: no tenant."""
        self.read_only = read_only
        self.owner = owner
        """The generator that has entered the block, if it is an ordinary one."""
        self.ended = False
        self.setting = _configuration.setting

    @property
    def set_local(self) -> str:
        """The setting for a transaction block."""
        return self.setting.set_local(self.value, read_only=self.read_only)

    @property
    def select(self) -> str:
        """The setting for the transaction that the statement is part of."""
        return self.setting.select(self.value, read_only=self.read_only)

    @property
    def applies(self) -> bool:
        """Whether the block is open, and not that of a suspended generator (whose frame has no caller)."""
        return not self.ended and (self.owner is None or self.owner.f_back is not None)


_entered: ContextVar[tuple[EnteredBlock, ...]] = ContextVar("tenantry_app", default=())


def required_block() -> EnteredBlock:
    """The block of the running code, including one of without_tenant(). Raises TenantRequired outside of any."""
    found = innermost()
    if found is None:
        raise TenantRequired(_hint())
    if found.refusal is not None:
        raise found.refusal.with_traceback(None)
    return found


def current() -> Tenant:
    """The tenant of the running task.

    Raises TenantRequired if none is set, also in a block of without_tenant().
    """
    found = innermost()
    if found is not None and found.refusal is not None:
        raise found.refusal.with_traceback(None)
    if found is None or found.tenant is None:
        raise TenantRequired(_hint())
    return found.tenant


def innermost() -> EnteredBlock | None:
    """The block of the running code, including one of without_tenant()."""
    entered = _entered.get()
    if not entered:
        return None
    last = entered[-1]
    if last.owner is None and not last.ended:
        return last
    applying = [block for block in entered if block.applies]
    owners = {block.owner for block in applying if block.owner is not None}
    if len(owners) > 1:
        # Generators that run one inside the other: the innermost is the one that was resumed last.
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame not in owners:
            frame = frame.f_back
        # In another thread or greenlet that works for them none of their frames is found, and the block entered last is
        # active.
        outer = owners - {frame} if frame is not None else frozenset()
        while applying and applying[-1].owner in outer:
            applying.pop()
    return applying[-1] if applying else None


def _hint() -> str:
    for block in _entered.get():
        if block.owner is not None and not block.ended:
            code = block.owner.f_code
            return (
                f"A tenant block that the generator {code.co_qualname} ({code.co_filename}:{block.owner.f_lineno}) has"
                " entered is active only while it runs; contextlib.contextmanager makes it active for the caller"
            )
    return ""


def _owner(frame: FrameType | None) -> FrameType | None:
    """The generator that enters a block in `frame`, or None if a function does."""
    while frame is not None and frame.f_globals.get("__name__") == "contextlib":
        frame = frame.f_back
    if frame is None or not frame.f_code.co_flags & _GENERATOR:
        return None
    driver = frame.f_back
    if driver is not None and driver.f_globals.get("__name__") in _BORROWED:
        # The owner of the block depends on where the context manager made from it is entered.
        return _owner(driver) if driver.f_globals["__name__"] == "contextlib" else None
    return frame


class _Block:
    """The object that `with` enters: context manager, async context manager and decorator."""

    refusal: TenantError | None = None
    """The error of statements in the block, if it is a block in which statements are refused."""

    def __init__(self, read_only: bool) -> None:
        self._read_only = read_only
        self._owned = True
        self._open: list[EnteredBlock] = []

    def _find(self) -> Tenant | None:
        raise NotImplementedError

    async def _find_async(self) -> Tenant | None:
        raise NotImplementedError

    def _enter(self, tenant: Tenant | None, frame: FrameType) -> None:
        block = EnteredBlock(self, tenant, self._read_only, _owner(frame) if self._owned else None)
        entered = _entered.get()
        # Without those whose generators are suspended now: when one is resumed, it is in its own block.
        place = len(entered)
        while place and not entered[place - 1].applies:
            place -= 1
        self._open.append(block)
        _entered.set((*entered[:place], block, *entered[place:]))

    def _leave(self) -> None:
        entered = _entered.get()
        for number in range(len(entered) - 1, -1, -1):
            block = entered[number]
            if block.block is self and not block.ended:
                self._open.remove(block)
                _entered.set(entered[:number] + entered[number + 1 :])
                return
        if self._open:  # another Context than the one in which it was entered
            self._open.pop().ended = True

    def __enter__(self) -> Tenant | None:
        tenant = self._find()
        self._enter(tenant, sys._getframe(1))
        return tenant

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def __aenter__(self) -> Tenant | None:
        frame = sys._getframe(0).f_back
        tenant = await self._find_async()
        self._enter(tenant, frame or sys._getframe(0))
        return tenant

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def __call__(self, function: _F) -> _F:
        """Decorate a function, a coroutine function, or a (sync or async) generator function: it runs in the block,
        which is entered at each call; for a generator the block covers only its own code, and not its consumer."""
        make_copy = self._each_time
        wrapper: Callable[..., Any]
        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
                generator = function(*args, **kwargs)
                resume: Callable[[], Any] = generator.__anext__
                while True:
                    async with make_copy():
                        try:
                            item = await resume()
                        except StopAsyncIteration:
                            return
                    try:
                        sent = yield item
                        resume = functools.partial(generator.asend, sent)
                    except GeneratorExit:
                        async with make_copy():
                            await generator.aclose()
                        raise
                    except BaseException as error:
                        resume = functools.partial(generator.athrow, error)

        elif inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                generator = function(*args, **kwargs)
                resume: Callable[[], Any] = generator.__next__
                while True:
                    with make_copy():
                        try:
                            item = resume()
                        except StopIteration as end:
                            return end.value
                    try:
                        sent = yield item
                        resume = functools.partial(generator.send, sent)
                    except GeneratorExit:
                        with make_copy():
                            generator.close()
                        raise
                    except BaseException as error:
                        resume = functools.partial(generator.throw, error)

        elif inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                async with make_copy():
                    return await function(*args, **kwargs)

        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with make_copy():
                    return function(*args, **kwargs)

        return cast("_F", wrapper)

    def _copy(self) -> _Block:
        raise NotImplementedError

    def _each_time(self) -> _Block:
        """The block of a decorated generator: it is left before each `yield`, and so needs no owner."""
        block = self._copy()
        block._owned = False
        return block


class tenant(_Block):  # noqa: N801 - it reads as a verb: with tenant("acme")
    """A block whose statements are those of one tenant.

    `name`: a key, a slug or a Tenant. With a directory (`configure`), a key or slug is looked up each time that the
    block is entered; without one it is taken for the key. `read_only`: transactions that begin in the block are
    read-only.

        with tenant("acme"): …
        async with tenant(uuid): …      # also for an asynchronous directory
        @tenant("acme")                 # on functions, coroutines and generators

    Blocks can be nested; the innermost is active. Entering raises UnknownTenant, InactiveTenant or InvalidKey.
    """

    def __init__(self, name: Name, *, read_only: bool = False) -> None:
        super().__init__(read_only)
        self._name = name if isinstance(name, Tenant) else key_text(name)

    def _look_up(self) -> Any:
        if isinstance(self._name, Tenant):
            return self._name
        directory = _configuration.directory
        return Tenant(self._name) if directory is None else directory.find(self._name)

    def _active(self, found: Found) -> Tenant:
        if found is None:
            raise UnknownTenant(str(self._name))
        if found.status != ACTIVE:
            raise InactiveTenant(found)
        return found

    def _find(self) -> Tenant:
        found = self._look_up()
        if not isinstance(found, Tenant) and inspect.isawaitable(found):
            if inspect.iscoroutine(found):
                found.close()
            raise TenantError("the directory is asynchronous: use async with tenant(…)")
        return self._active(found)

    async def _find_async(self) -> Tenant:
        found = self._look_up()
        return self._active(await found if inspect.isawaitable(found) else found)

    def __enter__(self) -> Tenant:
        found = self._find()
        self._enter(found, sys._getframe(1))
        return found

    def _copy(self) -> tenant:
        return tenant(self._name, read_only=self._read_only)


class without_tenant(_Block):  # noqa: N801
    """A block whose statements have no tenant, and so see no owned row: for the tables that tenants share.

    It shows nothing that the application role could not see otherwise. Work on the rows of all tenants is done by the
    operator, which has its own role and DSN.
    """

    def __init__(self, *, read_only: bool = False) -> None:
        super().__init__(read_only)

    def _find(self) -> None:
        return None

    async def _find_async(self) -> None:
        return None

    def _copy(self) -> without_tenant:
        return without_tenant(read_only=self._read_only)


class Refusal(_Block):
    """A block whose statements raise an error: for a message whose tenant is unknown, or that has none."""

    def __init__(self, refusal: TenantError) -> None:
        super().__init__(read_only=False)
        self.refusal = refusal

    def _find(self) -> None:
        return None

    async def _find_async(self) -> None:
        return None

    def _copy(self) -> Refusal:
        assert self.refusal is not None
        return Refusal(self.refusal)
