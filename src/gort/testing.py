"""What tests want to know of goroutines: which ones are left behind.

The plugin for pytest is made of this; other test runners can use it, too.
"""

from __future__ import annotations

import time
from contextlib import ContextDecorator
from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import TracebackType

__all__ = ["left_behind", "newest", "no_leaks"]


def newest() -> int:
    """The number of the goroutine that was started last: what left_behind() begins after."""
    return _core.newest()


def left_behind(since: int, timeout: float = 1.0, besides: Collection[int] = ()) -> list[str]:
    """The stacks of goroutines that were started after goroutine `since` and have not ended, as text each.

    A goroutine that was started by an older one, other than main and the running one, belongs to that and is
    not counted; nor are those with a number in `besides`; nor is what any of these started. Those that are
    counted get `timeout` seconds to end. Goroutines of gort itself never count.
    """
    deadline = time.monotonic() + timeout
    wait = 0.0
    while _counted(since, besides):
        left = deadline - time.monotonic()
        if left <= 0:
            stacks = {goid: text for goid, _, text in _core.started_since(since, True)}
            return [stacks[goid].rstrip("\n") for goid in _counted(since, besides) if goid in stacks]
        _core.sleep(min(wait, left))
        wait = min(2 * wait + 0.0001, 0.05)
    return []


def _counted(since: int, besides: Collection[int]) -> list[int]:
    makers = {0, 1, _core.goid()}
    others = set()
    counted = []
    for goid, parent, _ in _core.started_since(since, False):
        if goid in besides or parent in others or (parent <= since and parent not in makers):
            others.add(goid)
        elif goid not in makers:
            counted.append(goid)
    return counted


class no_leaks(ContextDecorator):
    """A context manager and decorator: AssertionError if goroutines that were started inside are still there.

        with testing.no_leaks():
            serve()

    The exception has the stacks of all that left_behind() finds; `timeout`: the seconds that they get to end.
    If the block raises an exception, that is not replaced by another one. Raises TypeError if timeout is not
    a number, and ValueError if it is negative.
    """

    def __init__(self, timeout: float = 1.0) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise TypeError(f"no_leaks() takes a number of seconds, not {timeout!r}")
        if not timeout >= 0:
            raise ValueError(f"no_leaks() takes a number of seconds that is not negative, not {timeout!r}")
        self._timeout = timeout
        self._since: list[int] = []  # One may be used again, and within itself.

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
    alike: dict[str, list[str]] = {}
    for stack in stacks:
        alike.setdefault(stack.partition(" [")[2], []).append(stack)
    shown = [
        same[0] + (f"\n(and {len(same) - 1} more like this one)" if len(same) > 1 else "")
        for same in list(alike.values())[:_SHOWN]
    ]
    if len(alike) > _SHOWN:
        shown.append(f"... and {len(alike) - _SHOWN} more kinds")
    count = "1 goroutine is" if len(stacks) == 1 else f"{len(stacks)} goroutines are"
    return f"{count} left behind\n\n" + "\n\n".join(shown)


_SHOWN = 20  # stacks, of which no two are the same
