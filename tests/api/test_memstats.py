"""runtime.read_mem_stats: every field of the documentation, and what it means."""

from __future__ import annotations

import dataclasses

import pytest

from gort import runtime
from harness import isolated, run_source

ON = {"GORT_HEAP": "1"}

FIELDS = """
    alloc total_alloc sys lookups mallocs frees
    heap_alloc heap_sys heap_idle heap_inuse heap_released heap_objects
    stack_inuse stack_sys mspan_inuse mspan_sys mcache_inuse mcache_sys buck_hash_sys gc_sys other_sys
    next_gc last_gc pause_total_ns pause_ns pause_end num_gc num_forced_gc gc_cpu_fraction enable_gc debug_gc
    by_size
    """.split()


def test_fields() -> None:
    assert [field.name for field in dataclasses.fields(runtime.MemStats)] == FIELDS


@isolated(env=ON)
def test_the_core_has_the_same_fields_in_the_same_order() -> None:
    """The classes for users are typed copies of the core's list."""
    from gort import _core, heapdump

    figures = _core.mem_stats()
    assert figures
    assert [*figures] == [*FIELDS[: FIELDS.index("enable_gc")], "classes"]
    lengths = [(name, len(value) if type(value) is tuple else 1) for name, value in figures.items()]
    dumped = [
        pair for pair in lengths[: FIELDS.index("num_gc") + 1] if pair[0] != "pause_end"
    ]  # what Go's dumps have
    assert _core.mem_stats_dumped() == dumped
    assert [name for name, _ in dumped] == [*heapdump.MemStats._fields]


def test_go_spelling() -> None:
    assert runtime.ReadMemStats is runtime.read_mem_stats
    assert runtime.MemStats.__name__ == "MemStats"


def test_needs_the_heap() -> None:
    run_source(
        """
        from gort import runtime
        try:
            runtime.read_mem_stats()
        except runtime.Error as error:
            print(error)
        """,
        env={"GORT_HEAP": "0"},
    ).check(stdout="read_mem_stats: gort's heap is not installed: GORT_HEAP=0", stderr="")


@isolated(env=ON)
def test_sums() -> None:
    for m in (runtime.read_mem_stats(), runtime.read_mem_stats()):
        systems = [name for name in FIELDS if name.endswith("_sys")]
        assert m.sys == sum(getattr(m, name) for name in systems)
        assert m.alloc == m.heap_alloc <= m.heap_inuse
        assert m.heap_objects == m.mallocs - m.frees > 0
        assert m.heap_sys == m.heap_idle + m.heap_inuse
        assert m.heap_released <= m.heap_idle
        assert m.mspan_inuse <= m.mspan_sys and m.mcache_inuse <= m.mcache_sys
        assert m.stack_inuse <= m.stack_sys
        assert all(type(getattr(m, name)) is int for name in FIELDS[: FIELDS.index("pause_ns")])


@isolated(env=ON)
def test_by_size() -> None:
    m = runtime.read_mem_stats()
    assert len(m.by_size) == 61
    assert [row.size for row in m.by_size[:6]] == [0, 8, 16, 32, 48, 64]
    assert m.by_size[60].size == 19072
    assert m.by_size[0] == runtime.BySize(0, 0, 0)
    sizes = [row.size for row in m.by_size]
    assert sizes == sorted(set(sizes))
    assert all(row.mallocs >= row.frees for row in m.by_size)
    assert sum(row.mallocs for row in m.by_size) <= m.mallocs
    kept = [bytes(17_000) for _ in range(100)]
    after = runtime.read_mem_stats()
    index = sizes.index(18432)
    assert after.by_size[index].mallocs - m.by_size[index].mallocs == len(kept)
    kept.clear()
    assert runtime.read_mem_stats().by_size[index].frees - m.by_size[index].frees == 100


@isolated(env=ON)
def test_is_up_to_date() -> None:
    before = runtime.read_mem_stats()
    kept = [bytes(10_000_000) for _ in range(5)]
    with_them = runtime.read_mem_stats()
    kept.clear()
    without = runtime.read_mem_stats()
    assert 50_000_000 <= with_them.heap_alloc - before.heap_alloc < 51_000_000
    assert abs(without.heap_alloc - before.heap_alloc) < 1_000_000
    assert without.total_alloc >= with_them.total_alloc >= before.total_alloc + 50_000_000
    assert with_them.heap_inuse - before.heap_inuse >= 50_000_000
    assert without.heap_idle - with_them.heap_idle >= 49_000_000
    assert without.heap_sys == with_them.heap_sys


@isolated(env=ON)
def test_stacks_of_goroutines() -> None:
    from gort import chan, go
    from gort.sync import WaitGroup

    before = runtime.read_mem_stats()
    gate, wg = chan(), WaitGroup()
    for _ in range(100):
        wg.go(gate.recv)
    go(int)
    m = runtime.read_mem_stats()
    assert m.stack_inuse - before.stack_inuse >= 100 * (64 << 10)
    assert m.stack_sys >= m.stack_inuse
    gate.close()
    wg.wait()


@isolated(env=ON)
def test_before_the_first_cycle() -> None:
    m = runtime.read_mem_stats()
    assert m.enable_gc is True and m.debug_gc is False
    assert (m.num_gc, m.num_forced_gc, m.next_gc, m.last_gc) == (0, 0, 4 << 20, 0)
    assert m.pause_ns == m.pause_end == (0,) * 256


@isolated(env=ON)
def test_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        runtime.read_mem_stats().alloc = 1  # type: ignore[misc]
