"""Go's package sync: locks and meeting points for goroutines and threads."""

import functools
import gc
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .. import _core, _lazy
from .._core import Error, Goexit, Mutex, Sema, WaitGroup

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
_K = TypeVar("_K")
_V = TypeVar("_V")


class Locker(Protocol):
    """What can be locked and unlocked: Go's sync.Locker."""

    def lock(self) -> None: ...
    def unlock(self) -> None: ...


class _RLocker:
    """The reader's side of a RWMutex as a Locker."""

    __slots__ = ("_rw",)

    def __init__(self, rw: _core.RWMutex) -> None:
        self._rw = rw

    def lock(self) -> None:
        self._rw.rlock()

    def unlock(self) -> None:
        self._rw.runlock()

    def __enter__(self) -> "_RLocker":
        self._rw.rlock()
        return self

    def __exit__(self, *exc: object) -> None:
        self._rw.runlock()


class RWMutex(_core.RWMutex):
    """A lock that any number of readers or one writer holds: Go's sync.RWMutex.

    `with rw:` locks for writing, `with rw.rlocker():` for reading.
    """

    __slots__ = ()

    def rlocker(self) -> _RLocker:
        """A Locker whose lock and unlock are rlock and runlock: Go's RWMutex.RLocker."""
        return _RLocker(self)


def _check_callable(what: str, f: object) -> None:
    if not callable(f):
        raise TypeError(f"{what} takes a callable, not {f!r}")


class Once:
    """Does something exactly once: Go's sync.Once."""

    __slots__ = ("_done", "_mutex")

    def __init__(self) -> None:
        self._done = False
        self._mutex = Mutex()

    def do(self, f: Callable[[], Any], /) -> None:
        """Calls f() if no call of do on this Once has come before; returns when that first f has ended.

        An f that raises counts as done; its exception goes to the caller that ran it. An f that calls do
        of the same Once deadlocks. Raises TypeError if f cannot be called. Mirrors Go's Once.Do.
        """
        _check_callable("Once.do()", f)
        if self._done:
            return
        with self._mutex:
            if not self._done:
                try:
                    f()
                finally:
                    self._done = True


def once_value(f: Callable[[], _T], /) -> Callable[[], _T]:
    """A function that calls f() once, at its first call, and returns its result at every call.

    If f raises, every call raises the same exception. Raises TypeError if f cannot be called. Mirrors Go's
    sync.OnceValue.
    """
    _check_callable("once_value()", f)
    once = Once()
    results: list[_T] = []
    # Unless f returns or raises: it called goexit(), which ends the goroutine of the first call only.
    failure: BaseException = Error("sync: the function given to once_value ended by goexit")
    trace: TracebackType | None = None

    def first() -> None:
        nonlocal failure, trace
        try:
            results.append(f())
        except Goexit:
            raise
        except BaseException as exc:
            failure, trace = exc, exc.__traceback__

    @functools.wraps(f)
    def value() -> _T:
        once.do(first)
        if results:
            return results[0]
        # The traceback of the first time: raising again and again must not make it longer and longer.
        raise failure.with_traceback(trace)

    return value


def once_func(f: Callable[[], Any], /) -> Callable[[], None]:
    """A function that calls f() once, at its first call, and returns None at every call.

    If f raises, every call raises the same exception. Raises TypeError if f cannot be called. Mirrors Go's
    sync.OnceFunc.
    """
    _check_callable("once_func()", f)
    value = once_value(f)

    @functools.wraps(f)
    def call() -> None:
        value()

    return call


class Cond:
    """A condition that goroutines wait for: Go's sync.Cond. `l` is held to change and to test it."""

    __slots__ = ("_waiters", "l")

    def __init__(self, locker: Locker, /) -> None:
        if not (callable(getattr(locker, "lock", None)) and callable(getattr(locker, "unlock", None))):
            raise TypeError(f"Cond() takes an object with lock and unlock, not {locker!r}")
        self.l = locker
        self._waiters: deque[Sema] = deque()

    def wait(self) -> None:
        """Unlocks `l`, waits for signal or broadcast, and locks `l` again. Mirrors Go's Cond.Wait.

        The caller holds `l`. As another goroutine may come in between, test the condition in a loop.
        """
        turn = Sema()
        self._waiters.append(turn)
        try:
            self.l.unlock()
        except BaseException:
            self._waiters.remove(turn)
            raise
        try:
            turn.acquire("sync.Cond.Wait")
        except BaseException:
            # Interrupted: a wake-up that was meant for this waiter goes to the next one.
            try:
                self._waiters.remove(turn)
            except ValueError:
                self.signal()
            raise
        finally:
            self.l.lock()

    def signal(self) -> None:
        """Wakes the goroutine that has waited longest, if there is one. Mirrors Go's Cond.Signal."""
        try:
            turn = self._waiters.popleft()
        except IndexError:
            return
        turn.release()

    def broadcast(self) -> None:
        """Wakes every goroutine that waits. Mirrors Go's Cond.Broadcast."""
        # Only those that wait now: one that is woken and waits again is not woken twice.
        for _ in range(len(self._waiters)):
            self.signal()


class Pool(Generic[_T]):
    """A set of objects to be used again, any of which may be dropped at any time: Go's sync.Pool.

    CPython's full collections empty it: an object that nobody took between two of them is dropped.
    """

    __slots__ = ("__weakref__", "_items", "_victims", "new")

    def __init__(self, new: Callable[[], _T] | None = None, /) -> None:
        if new is not None:
            _check_callable("Pool()", new)
        self.new = new
        self._items: list[_T] = []
        self._victims: list[_T] = []
        if _age_pools not in gc.callbacks:
            gc.callbacks.append(_age_pools)
        _pools[id(self)] = weakref.ref(self, functools.partial(_forget, id(self)))

    def get(self) -> _T | None:
        """Takes an object out of the pool; if there is none, new(), or None without one.

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


def _forget(key: int, _: object) -> None:
    _pools.pop(key, None)


def _age_pools(phase: str, info: dict[str, int]) -> None:
    """A gc callback: as a full collection starts, what the last one left in the pools goes."""
    if phase == "start" and info["generation"] == 2:
        for reference in list(_pools.values()):
            pool = reference()
            if pool is not None:
                pool._victims, pool._items = pool._items, []


_MISSING: Any = object()


class Map(Generic[_K, _V]):
    """A dict for use by many goroutines at once, with Go's atomic operations: Go's sync.Map."""

    __slots__ = ("_items", "_mutex")

    def __init__(self) -> None:
        self._items: dict[_K, _V] = {}
        # Held by writers; readers need no lock, because a single dict operation is atomic.
        self._mutex = Mutex()

    def load(self, key: _K, /) -> tuple[_V | None, bool]:
        """(value, True), or (None, False) if the key is absent. Mirrors Go's Map.Load."""
        value = self._items.get(key, _MISSING)
        return (None, False) if value is _MISSING else (value, True)

    def store(self, key: _K, value: _V, /) -> None:
        """Sets the value of the key. Mirrors Go's Map.Store."""
        with self._mutex:
            self._items[key] = value

    def load_or_store(self, key: _K, value: _V, /) -> tuple[_V, bool]:
        """(the value there, True), or stores value: (value, False). Mirrors Go's Map.LoadOrStore."""
        with self._mutex:
            there = self._items.get(key, _MISSING)
            if there is not _MISSING:
                return there, True
            self._items[key] = value
            return value, False

    def load_and_delete(self, key: _K, /) -> tuple[_V | None, bool]:
        """Deletes the key: (its value, True), or (None, False) if absent. Mirrors Go's Map.LoadAndDelete."""
        with self._mutex:
            value = self._items.pop(key, _MISSING)
        return (None, False) if value is _MISSING else (value, True)

    def delete(self, key: _K, /) -> None:
        """Deletes the key if it is there. Mirrors Go's Map.Delete."""
        self.load_and_delete(key)

    def swap(self, key: _K, value: _V, /) -> tuple[_V | None, bool]:
        """Stores value: (the one before, True), or (None, False) if there was none. Mirrors Go's Map.Swap."""
        with self._mutex:
            before = self._items.get(key, _MISSING)
            self._items[key] = value
        return (None, False) if before is _MISSING else (before, True)

    def compare_and_swap(self, key: _K, old: _V, new: _V, /) -> bool:
        """Stores new if the key's value equals old; True if it did. Mirrors Go's Map.CompareAndSwap."""
        while True:
            there = self._items.get(key, _MISSING)
            # Compared without the lock: __eq__ is the program's own code.
            if there is _MISSING or not _equal(there, old):
                return False
            with self._mutex:
                if self._items.get(key, _MISSING) is there:
                    self._items[key] = new
                    return True

    def compare_and_delete(self, key: _K, old: _V, /) -> bool:
        """Deletes the key if its value equals old; True if it did. Mirrors Go's Map.CompareAndDelete."""
        while True:
            there = self._items.get(key, _MISSING)
            if there is _MISSING or not _equal(there, old):
                return False
            with self._mutex:
                if self._items.get(key, _MISSING) is there:
                    del self._items[key]
                    return True

    def clear(self) -> None:
        """Deletes every key. Mirrors Go's Map.Clear."""
        with self._mutex:
            self._items.clear()

    def range(self, f: Callable[[_K, _V], Any], /) -> None:
        """Calls f(key, value) for each key until f returns False. Mirrors Go's Map.Range.

        f sees the map as it was when range was called, and may change it. A result of None goes on.
        Raises TypeError if f cannot be called.
        """
        _check_callable("Map.range()", f)
        for key, value in self.items():
            if f(key, value) is False:
                return

    def items(self) -> Iterator[tuple[_K, _V]]:
        """Iterates over (key, value) of the map as it was when items was called."""
        return iter(list(self._items.items()))


def _equal(a: object, b: object) -> bool:
    return a is b or bool(a == b)
