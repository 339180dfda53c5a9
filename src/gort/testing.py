"""What tests want to know of goroutines: which ones are left behind.

The plugin for pytest is made of this; other test runners can use it, too.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import TYPE_CHECKING, Any, TypeVar

from . import _core, _session

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

_F = TypeVar("_F", bound="Callable[..., Any]")

__all__ = ["left_behind", "newest", "no_leaks"]


def newest() -> int:
    """The number of the goroutine that was started last: what left_behind() begins after."""
    return _core.newest()


def left_behind(since: int, timeout: float = 1.0, besides: Collection[int] = ()) -> list[str]:
    """The stacks of goroutines that were started after goroutine `since` and have not ended, as text each.

    Those count that the running goroutine (or the running thread) has started, and what these have started,
    as long as that can be told: not if the one in between has ended. What timers start does not count, nor
    what other goroutines or threads start meanwhile, nor those with a number in `besides`. Those that count
    get `timeout` seconds to end. Goroutines of gort itself never count.
    """
    waited, wait = 0.0, 0.0
    while counted := _counted(since, besides):
        if waited >= timeout:
            stacks = {goid: text for goid, _, text in _core.started_since(since, True)}
            return [stacks[goid].rstrip("\n") for goid in counted if goid in stacks]
        # By the times that were asked for: tests stop clocks.
        _core.sleep(wait)
        waited += wait
        wait = min(2 * wait + 0.0001, 0.05, max(timeout - waited, 0.0001))
    return []


def _counted(since: int, besides: Collection[int]) -> list[int]:
    makers = {_core.goid()}
    counted = []
    for goid, parent, _ in _core.started_since(since, False):
        if parent in makers and goid not in besides and goid != _core.goid():
            counted.append(goid)
            makers.add(goid)
    return counted


class no_leaks(ContextDecorator):
    """A context manager and decorator: AssertionError if goroutines that it has started are still there.

        with testing.no_leaks():
            serve()

    The exception has the stacks of all that left_behind() finds; `timeout`: the seconds that they get to end.
    If the block raises an exception, that is not replaced by another one. Raises TypeError if timeout is not
    a number, or if calling what is decorated runs nothing (a coroutine or generator function), and ValueError
    if timeout is negative.
    """

    def __init__(self, timeout: float = 1.0) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise TypeError(f"no_leaks() takes a number of seconds, not {timeout!r}")
        if not timeout >= 0:
            raise ValueError(f"no_leaks() takes a number of seconds that is not negative, not {timeout!r}")
        self._timeout = timeout
        self._since: list[int] = []  # One may be used again, and within itself.

    def __call__(self, func: _F) -> _F:
        _core.check_runs("no_leaks()", func)
        return super().__call__(func)

    def __enter__(self) -> None:
        self._since.append(_core.newest())

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        since = self._since.pop()
        if exc is None and (stacks := left_behind(since, self._timeout)):
            raise AssertionError(describe(stacks))


def describe(stacks: list[str]) -> str:
    """What is said of goroutines that are left behind."""
    count = "1 goroutine is" if len(stacks) == 1 else f"{len(stacks)} goroutines are"
    return f"{count} left behind\n\n" + _session.summary(stacks)
