"""Go's package golang.org/x/sync/errgroup: goroutines that work on parts of one task."""

from collections.abc import Callable
from typing import Any, ParamSpec

from .. import _core, context
from .._core import Error, Mutex, Sema, WaitGroup

__all__ = ["Group", "with_context"]

_P = ParamSpec("_P")


class Group:
    """A set of goroutines whose first exception is the group's: Go's errgroup.Group."""

    def __init__(self) -> None:
        self._cancel: Callable[[BaseException | None], None] | None = None
        self._running = WaitGroup()
        self._mutex = Mutex()  # Held to set _error.
        self._error: Exception | None = None
        self._places: Sema | None = None

    def go(self, fn: Callable[_P, Any], /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Starts fn(*args, **kwargs) in a goroutine; waits first if as many run as the limit allows.

        The first Exception that escapes such a function cancels the group's context, and wait() raises it.
        SystemExit ends the process, as in any goroutine. Raises TypeError if fn cannot be called, or if
        calling it runs nothing (a coroutine or generator function). Mirrors Go's Group.Go.
        """
        _core.check_runs("Group.go()", fn)
        self._running._go(fn, self._places, self._fail, *args, **kwargs)

    def try_go(self, fn: Callable[_P, Any], /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Like go(), but instead of waiting it starts nothing and returns False. Mirrors Go's Group.TryGo."""
        _core.check_runs("Group.try_go()", fn)
        return self._running._try_go(fn, self._places, self._fail, *args, **kwargs)

    def wait(self) -> None:
        """Waits for every goroutine of the group, and raises the first exception if there was one.

        In either case it cancels the group's context. Mirrors Go's Group.Wait.
        """
        self._running.wait()
        if self._cancel is not None:
            self._cancel(self._error)
        if self._error is not None:
            raise self._error

    def set_limit(self, n: int, /) -> None:
        """Lets at most n goroutines of the group run at once; if n is negative, any number.

        Raises TypeError if n is not an int, and runtime.Error if there is a limit and goroutines of the group
        run. Mirrors Go's Group.SetLimit.
        """
        if not isinstance(n, int):
            raise TypeError(f"set_limit() takes an int, not {n!r}")
        active = self._running._n
        if active and self._places is not None:
            raise Error(f"errgroup: modify limit while {active} goroutines in the group are still active")
        self._places = Sema(n) if n >= 0 else None

    def _fail(self, exc: Exception) -> None:
        with self._mutex:
            if self._error is not None:
                return
            self._error = exc
        if self._cancel is not None:
            self._cancel(exc)


def with_context(ctx: context.Context, /) -> tuple[Group, context.Context]:
    """A new Group, and a context derived from ctx. Mirrors Go's errgroup.WithContext.

    The context is cancelled when a function of the group raises, or when wait() returns, whichever comes
    first. Raises TypeError if ctx is not a Context.
    """
    derived, cancel = context.with_cancel_cause(ctx)
    group = Group()
    group._cancel = cancel
    return group, derived
