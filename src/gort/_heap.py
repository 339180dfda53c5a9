"""The core's heap and its collector: installed and started as the environment says; debug modes."""

from __future__ import annotations

import gc
import os
import sys

from . import _core, _env

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType


def collect() -> None:
    """Runs a full collection: Go's runtime.GC.

    When it returns, garbage has been freed and finalizers are queued. It is a collection of its own even if
    one is due, whereas Python's gc.collect() takes the place of one that is due. While a collection of
    another goroutine runs, it waits until that has ended; gc.collect() does nothing then. Within a
    collection, in a __del__ for example, it does nothing.
    """
    _core.collect()


_why_not: str | None = "the runtime has not started"


def install() -> str | None:
    """Installs the heap in the debug modes of GODEBUG; returns None, or why it is not installed."""
    global _why_not
    given = os.environ.get("GORT_HEAP", "")
    if given not in ("", "0", "1"):
        _env.report(f"gort: GORT_HEAP={given!r} is not 0 or 1; using 1")
    modes = _env.heap_modes()
    if any(modes.values()):
        gc.collect()  # which empties CPython's own lists of free objects, too
    _why_not = "GORT_HEAP=0" if given == "0" else _core.install_heap(**modes)
    return _why_not


def imported() -> None:
    """Called once gort is imported: the program begins, unless the command `gort` runs, which says when."""
    if not _env.integer("allocfreetrace"):
        return
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        # The frames of the import system and of runpy say what they were asked for.
        names = frame.f_locals if frame.f_code.co_filename.startswith("<frozen ") else {}
        if names.get("name") == "gort._cli" or names.get("mod_name") == "gort.__main__":
            return
        frame = frame.f_back
    begin()


def begin() -> None:
    """Called when the program begins: allocfreetrace starts to trace."""
    if _why_not is None and _env.integer("allocfreetrace"):
        import threading  # noqa: F401  # What the first goroutine would load is not the program's.

        gc.collect()
        _core.begin_tracing()


def require_heap(what: str) -> None:
    """Raises runtime.Error, which says why, if gort's heap is not installed. what: the caller's name."""
    if _why_not is not None:
        raise _core.Error(f"{what}: gort's heap is not installed: {_why_not}")


def start_collector() -> None:
    """Puts CPython's collector under the pacer, as the environment says."""
    never = _env.integer("sbrk") != 0
    percent, limit = (-1, _env.NO_LIMIT) if never else (_env.gc_percent(), _env.memory_limit())
    _core.start_gc(percent, limit, **_env.collector_settings())
    _core.set_scavenger(_env.integer("scavenge") > 0, _env.integer("madvdontneed") == 0)


_profile_rate: int | None = None


def profile_rate() -> int:
    """The value of runtime.mem_profile_rate."""
    return _env.integer("memprofilerate") if _profile_rate is None else _profile_rate


def set_profile_rate(rate: int) -> None:
    """Sets runtime.mem_profile_rate."""
    global _profile_rate
    if not isinstance(rate, int) or isinstance(rate, bool):
        raise TypeError(f"mem_profile_rate must be an int, not {rate!r}")
    if not 0 <= rate < 1 << 63:
        raise ValueError(f"mem_profile_rate must be between 0 and {(1 << 63) - 1}, not {rate}")
    _profile_rate = rate
