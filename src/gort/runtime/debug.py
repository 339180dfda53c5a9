"""Go's package runtime/debug.

Every name also answers to Go's spelling: `debug.SetMaxThreads is debug.set_max_threads`.
"""

import io
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from .. import _core, _env, _heap, _memstats, _traceback
from .._core import set_max_stack, set_max_threads
from .._spelling import GoModule

__all__ = [
    "GCStats",
    "free_os_memory",
    "print_stack",
    "read_gc_stats",
    "set_gc_percent",
    "set_max_stack",
    "set_max_threads",
    "set_memory_limit",
    "set_traceback",
    "stack",
    "write_heap_dump",
]

# The package's functions, in Go's spelling.
_INDEX = (
    "FreeOSMemory",
    "PrintStack",
    "ReadGCStats",
    "SetGCPercent",
    "SetMaxStack",
    "SetMaxThreads",
    "SetMemoryLimit",
    "SetTraceback",
    "Stack",
    "WriteHeapDump",
)


def stack() -> str:
    """The running goroutine's stack in the form of Go's dumps: Go's debug.Stack."""
    return _core.traceback(False)


def print_stack() -> None:
    """Writes stack() to standard error: Go's debug.PrintStack."""
    _traceback.write(_core.traceback(False))


def set_traceback(level: str) -> None:
    """Sets how much is printed when the program dies, like GOTRACEBACK: Go's debug.SetTraceback.

    It cannot go below what the environment variable asks for; "" stands for single. Raises TypeError if level
    is not a str, and ValueError if it is not one of none, single, all, system, crash or a number.
    """
    _traceback.set_level(level)


# -- the collector ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GCStats:
    """The collector's recent history: Go's debug.GCStats. Durations are in seconds."""

    last_gc: datetime | None  # when the last cycle ended, aware; None: there was none
    num_gc: int  # cycles
    pause_total: float  # of all collections, including those of the young generation only
    pause: tuple[float, ...]  # of the last 256 cycles, the most recent first
    pause_end: tuple[datetime, ...]  # when those ended, the most recent first
    pause_quantiles: tuple[float, ...]  # minimum, quantiles and maximum of `pause`, in order


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)


def read_gc_stats(quantiles: int = 5) -> GCStats:
    """The collector's recent pauses: Go's debug.ReadGCStats.

    `quantiles` is the number of entries in pause_quantiles: 5 gives the minimum, the 25%, 50% and 75%
    quantiles and the maximum. MemStats says what a cycle is. Raises TypeError if quantiles is not an int,
    ValueError if it is negative, and runtime.Error without gort's heap.
    """
    if not isinstance(quantiles, int):
        raise TypeError(f"read_gc_stats() takes an int, not {quantiles!r}")
    if quantiles < 0:
        raise ValueError(f"read_gc_stats(): {quantiles!r} is less than 0")
    _heap.require_heap("read_gc_stats")
    m = _memstats.read_mem_stats()
    kept = len(m.pause_ns)
    recent = [(m.num_gc - 1 - i) % kept for i in range(min(m.num_gc, kept))]
    pauses = tuple(m.pause_ns[i] / 1e9 for i in recent)
    ordered = sorted(pauses)
    last = len(ordered) - 1
    return GCStats(
        last_gc=_moment(m.last_gc) if m.num_gc else None,
        num_gc=m.num_gc,
        pause_total=m.pause_total_ns / 1e9,
        pause=pauses,
        pause_end=tuple(_moment(m.pause_end[i]) for i in recent),
        pause_quantiles=tuple(
            ordered[last * i // max(quantiles - 1, 1)] if ordered else 0.0 for i in range(quantiles)
        ),
    )


def set_gc_percent(percent: int) -> int:
    """Sets GOGC and returns the previous value: Go's debug.SetGCPercent.

    A cycle begins when the heap has grown by this percentage over what was live after the last one, but not
    below 4 MiB * percent / 100. If it is negative, no collection begins by itself. It takes effect at once.
    Raises TypeError if percent is not an int, ValueError if it is more than 2**31 - 1, and runtime.Error
    without gort's heap.
    """
    _heap.require_heap("set_gc_percent")
    return _core.set_gc_percent(percent)


def set_memory_limit(limit: int) -> int:
    """Sets the soft memory limit, in bytes, and returns the previous one: Go's debug.SetMemoryLimit.

    As the memory that gort has from the system nears the limit, cycles begin earlier (and take at most half
    of the time), and idle memory is given back before more is taken. Memory of C libraries does not count. A
    negative limit changes nothing. 2**63 - 1 means no limit; it is the default unless GOMEMLIMIT is set.
    Raises TypeError if limit is not an int, ValueError if it is more than 2**63 - 1, and runtime.Error
    without gort's heap.
    """
    _heap.require_heap("set_memory_limit")
    return _core.set_memory_limit(limit)


def free_os_memory() -> None:
    """Collects, and gives as much memory as possible back to the system: Go's debug.FreeOSMemory.

    That includes the stacks of goroutines that have ended. Otherwise idle memory goes back in the background,
    a few seconds after it was last needed.
    """
    _heap.collect()
    _core.scavenge_all()


class _BinaryFile(Protocol):
    def fileno(self) -> int: ...
    def flush(self) -> None: ...


def write_heap_dump(file: int | _BinaryFile) -> None:
    """Writes the heap, the goroutines and what holds them to a file: Go's debug.WriteHeapDump.

    file is a descriptor, or an open binary file, whose own buffer is flushed first. Nothing else runs until
    everything is written, so it must not be a pipe or socket whose other end this process reads.
    `python -m gort.heapdump` shows what a dump holds. Raises TypeError if file is neither, ValueError if it
    is not between 0 and 2**31 - 1, OSError if a write fails, MemoryError, and runtime.Error without gort's
    heap.
    """
    _heap.require_heap("write_heap_dump")
    if isinstance(file, int):
        fd = file
    elif hasattr(file, "fileno") and not isinstance(file, io.TextIOBase):
        file.flush()
        fd = file.fileno()
    else:
        raise TypeError(f"write_heap_dump() takes a file descriptor or a binary file, not {file!r}")
    if not 0 <= fd < 1 << 31:
        raise ValueError(f"write_heap_dump(): {fd} is not a file descriptor")
    python = f"cpython{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
    _core.write_heap_dump(fd, _core.GOARCH, python, _env.NUM_CPU)


if TYPE_CHECKING:
    # Go's spellings, as tools/go_names.py writes them.
    FreeOSMemory = free_os_memory
    PrintStack = print_stack
    ReadGCStats = read_gc_stats
    SetGCPercent = set_gc_percent
    SetMaxStack = set_max_stack
    SetMaxThreads = set_max_threads
    SetMemoryLimit = set_memory_limit
    SetTraceback = set_traceback
    Stack = stack
    WriteHeapDump = write_heap_dump
    # End of Go's spellings.

else:
    sys.modules[__name__].__class__ = GoModule
