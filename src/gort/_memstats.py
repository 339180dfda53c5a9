"""runtime.MemStats and runtime.read_mem_stats: the figures of the core's heap, under Go's names."""

from dataclasses import dataclass
from typing import NamedTuple

from . import _core, _heap


class BySize(NamedTuple):
    """A size class in MemStats: blocks of at most `size` bytes that do not fit the class before it."""

    size: int
    mallocs: int
    frees: int


@dataclass(frozen=True, slots=True)
class MemStats:
    """Statistics of the memory allocator: Go's runtime.MemStats. Sizes are in bytes, times in nanoseconds.

    They cover gort's heap: objects and memory that CPython has allocated from it since it was installed. What
    was allocated before, and what C libraries take from malloc, is not included.

    A cycle is a collection that the heap's size brought about (GOGC, the memory limit), that was due because
    there had been none for two minutes, or that was asked for (runtime.gc(), gc.collect()). Collections of
    the young generation between cycles count only in pause_total_ns and gc_cpu_fraction.
    """

    alloc: int  # allocated heap objects; the same as heap_alloc
    total_alloc: int  # ever allocated for heap objects; never decreases
    sys: int  # obtained from the system, including reserved addresses: the sum of the *_sys
    lookups: int  # addresses that were looked up in the table of spans
    mallocs: int  # heap objects ever allocated
    frees: int  # heap objects ever freed

    heap_alloc: int  # in heap objects, including unreachable ones that are not freed yet
    heap_sys: int  # addresses of the heap; heap_idle + heap_inuse
    heap_idle: int  # in spans that hold no object
    heap_inuse: int  # in spans that hold at least one object, or wait for one
    heap_released: int  # the part of heap_idle that has no physical memory
    heap_objects: int  # allocated heap objects; mallocs - frees

    stack_inuse: int  # addresses of goroutine stacks, including free ones that wait for a goroutine
    stack_sys: int  # addresses reserved for stacks of goroutines, and stacks of threads made for them

    mspan_inuse: int
    mspan_sys: int
    mcache_inuse: int
    mcache_sys: int
    buck_hash_sys: int  # tables of the profilers
    gc_sys: int  # metadata of the collector; CPython's lies within the objects
    other_sys: int  # the tables that lead from an address to its span

    next_gc: int  # target heap size of the next cycle; 2**64 - 1: GOGC is off
    last_gc: int  # when the last cycle ended, since 1970; 0: there was none
    pause_total_ns: int  # of all collections
    pause_ns: tuple[int, ...]  # of the last 256 cycles; the most recent is [(num_gc + 255) % 256]
    pause_end: tuple[int, ...]  # when those pauses ended, since 1970
    num_gc: int  # cycles
    num_forced_gc: int  # those that were asked for
    gc_cpu_fraction: float  # of the CPU time that GOMAXPROCS processors have had since the start
    enable_gc: bool  # always True
    debug_gc: bool  # not used

    by_size: tuple[BySize, ...]  # 61 size classes; larger blocks are not in it


_BY_SIZE = 61


def read_mem_stats() -> MemStats:
    """The allocator's statistics as of this call: Go's runtime.ReadMemStats.

    Raises runtime.Error if gort's heap is not installed.
    """
    _heap.require_heap("read_mem_stats")
    figures = _core.mem_stats()
    assert figures is not None
    classes = figures.pop("classes")
    return MemStats(
        **figures,
        enable_gc=True,
        debug_gc=False,
        by_size=tuple(
            BySize(0, 0, 0) if size == 0 else BySize(size, mallocs, frees)
            for size, mallocs, frees in classes[:_BY_SIZE]
        ),
    )
