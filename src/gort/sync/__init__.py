"""Go's package sync: locks and other synchronization for goroutines and threads."""

import functools
import gc
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .. import _core, _lazy
from .._core import Cond, Map, Mutex, Once, RWMutex, WaitGroup

if TYPE_CHECKING:
    from . import atomic as atomic
    from . import errgroup as errgroup
else:
    __getattr__ = _lazy.subpackages(__name__, "atomic", "errgroup")

__all__ = [
    "Cond",
    "Locker",
    "Map",
    "Mutex",
    "Once",
    "Pool",
    "RWMutex",
    "WaitGroup",
    "once_func",
    "once_value",
]

_T = TypeVar("_T")


class Locker(Protocol):
    """What can be locked and unlocked: Go's sync.Locker."""

    def lock(self) -> None: ...
    def unlock(self) -> None: ...


def once_value(f: Callable[[], _T], /) -> Callable[[], _T]:
    """A function that calls f() once, at its first call, and returns its result at every call.

    If f raises, every call raises the same exception. Raises TypeError if f cannot be called. Mirrors Go's
    sync.OnceValue.
    """
    _core.check_callable("once_value()", f)
    once = Once()

    @functools.wraps(f)
    def value() -> _T:
        return once._value(f)

    return value


def once_func(f: Callable[[], Any], /) -> Callable[[], None]:
    """A function that calls f() once, at its first call, and returns None at every call.

    If f raises, every call raises the same exception. Raises TypeError if f cannot be called, or if calling
    it runs nothing (a coroutine or generator function). Mirrors Go's sync.OnceFunc.
    """
    _core.check_runs("once_func()", f)
    once = Once()

    @functools.wraps(f)
    def call() -> None:
        once._value(f)

    return call


class Pool(Generic[_T]):
    """A set of objects to be used again, any of which may be dropped at any time: Go's sync.Pool.

    CPython's full collections empty it: an object that nobody takes between two of them is dropped. Raises
    TypeError if `new` cannot be called.
    """

    __slots__ = ("__weakref__", "_items", "_victims", "new")

    def __init__(self, new: Callable[[], _T] | None = None, /) -> None:
        if new is not None:
            _core.check_callable("Pool()", new)
        self.new = new
        self._items: list[_T] = []
        self._victims: list[_T] = []
        if _age_pools not in gc.callbacks:
            gc.callbacks.append(_age_pools)
        _pools[id(self)] = weakref.ref(self, functools.partial(_core.forget_pool, _pools, id(self)))

    def get(self) -> _T | None:
        """Takes an object out of the pool. If there is none, the result is new(), or None without a new.

        Mirrors Go's Pool.Get.
        """
        for items in (self._items, self._victims):
            try:
                return items.pop()
            except IndexError:
                pass
        return self.new() if self.new is not None else None

    def put(self, x: _T | None, /) -> None:
        """Adds x to the pool; None is ignored. Mirrors Go's Pool.Put."""
        if x is not None:
            self._items.append(x)


_pools: dict[int, weakref.ref[Pool[Any]]] = {}


# As a full collection starts, what the last one left in the pools goes.
_age_pools: Callable[[str, dict[str, int]], None] = functools.partial(_core.age_pools, _pools)
