"""Stacks and thread states: limits of the address space, and that what is over or asleep costs nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from harness import isolated

SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")


# -- a limited address space -----------------------------------------------------------------------


@pytest.mark.skipif(SANITIZED, reason="the sanitizer reserves most of the address space")
@pytest.mark.parametrize("mib", [60, 90, 150, 400])
@isolated(env={"MALLOC_ARENA_MAX": "1"})
def test_goroutines_as_long_as_there_are_addresses(mib: int) -> None:
    import gc
    import resource
    import threading

    from gort import chan, go
    from gort.runtime import debug
    from gort.sync import WaitGroup
    from gort.time import sleep

    sleep(0.01)  # the runtime's own threads have started
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + (mib << 20),) * 2)
    seen: list[int] = []

    def deep(n: int) -> int:
        return n and deep(n - 1)

    def task(stop: Any, group: WaitGroup, i: int) -> None:
        stop.recv()
        deep(100)
        seen.append(i)
        group.done()

    counts = []
    for _ in range(3):
        seen.clear()
        stop, group, n = chan(), WaitGroup(), 0
        try:
            while n < 3000:
                group.add(1)
                go(task, stop, group, n)
                n += 1
        except MemoryError as error:
            group.done()
            assert "no address space for another goroutine stack" in str(error)
        stop.close()
        group.wait()
        assert sorted(seen) == list(range(n))
        counts.append(n)
    # What there was once there is again; or almost, where the heap has grown meanwhile.
    assert min(counts) >= mib // 20 and max(counts) - min(counts) <= 2, counts
    # The last addresses are left to others: a thread can start, and the heap grow.
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert len(bytes(8 << 20)) == 8 << 20
    gc.collect()
    assert debug.set_max_stack(8 << 20)


# -- who could still wake somebody -----------------------------------------------------------------


def _round_trip(n: int = 150) -> Callable[[], float]:
    """How long a plain thread and main need for a round trip over channels, at best."""
    import threading
    import time

    from gort import chan

    a, b = chan(), chan()

    def peer() -> None:
        for x in a:
            time.sleep(0.0003)  # main's thread has time to fall asleep
            b.send(x)

    threading.Thread(target=peer, daemon=True).start()

    def measure() -> float:
        best = 9.0
        for i in range(n):
            start = time.perf_counter()
            a.send(i)
            b.recv()
            best = min(best, time.perf_counter() - start)
        return best

    return measure


@isolated()
def test_waiting_does_not_cost_by_the_goroutines_that_are_parked() -> None:
    """Whether the program is dead is asked each time that main waits, without a walk over all goroutines."""
    import os

    from gort import chan, go, runtime

    measure = _round_trip()
    measure()
    before = measure()
    stop = chan()
    for _ in range(60_000):
        go(stop.recv)
    runtime.gosched()
    parked = measure()
    assert runtime.num_goroutine() == 60_001
    # A walk over so many takes 10 ms.
    assert parked < before + 0.003, f"{before * 1e6:.0f} us without, {parked * 1e6:.0f} us with them"
    os._exit(0)


@isolated(status=2, stderr="fatal error: all goroutines are asleep - deadlock!\n...")
def test_threads_that_ended_wake_nobody() -> None:
    """Thread states of threads and goroutines come and go in any order: none is counted that is gone."""
    import threading

    from gort import chan, go
    from gort.sync import WaitGroup
    from gort.time import sleep

    group = WaitGroup()
    for i in range(20):
        threads = [threading.Thread(target=int) for _ in range(i % 3)]
        for thread in threads:
            thread.start()
        for _ in range(50 * i):
            group.go(lambda: sleep(0.0001))
        for thread in threads:
            thread.join()
        group.wait()
    go(chan().recv)
    chan().recv()


# -- what is over ----------------------------------------------------------------------------------


def _status(key: str) -> int:
    """A line of /proc/self/status, in KiB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key + ":"))


def _thread_states() -> int:
    import ctypes

    head = ctypes.pythonapi.PyInterpreterState_ThreadHead
    after = ctypes.pythonapi.PyThreadState_Next
    main = ctypes.pythonapi.PyInterpreterState_Main
    for function in (head, after, main):
        function.restype = ctypes.c_void_p
    head.argtypes = after.argtypes = [ctypes.c_void_p]
    n, ts = 0, head(main())
    while ts:
        n, ts = n + 1, after(ts)
    return n


def _stacks() -> int:
    """Bytes of addresses of the stacks that exist."""
    from gort import runtime

    return int(runtime.read_mem_stats().stack_inuse)


def _burst(n: int, keep: int = 0) -> Callable[[], None]:
    """n goroutines park at once and end. Of every `keep` one stays, until what is returned is called."""
    from gort import chan, go, runtime
    from gort.sync import WaitGroup

    stop, later, ended, still = chan(), chan(), WaitGroup(), WaitGroup()
    checked = []

    def body(i: int) -> None:
        text = f"goroutine {i}"
        if keep and i % keep == 0:
            later.recv()
            checked.append(text == f"goroutine {i}")
            still.done()
        else:
            stop.recv()
            ended.done()

    for i in range(n):
        (still if keep and i % keep == 0 else ended).add(1)
        go(body, i)
    runtime.gosched()
    stop.close()
    ended.wait()

    def end() -> None:
        later.close()
        still.wait()
        assert all(checked) and len(checked) == (len(range(0, n, keep)) if keep else 0)

    return end


def _until(condition: Callable[[], bool]) -> None:
    import time

    import gort.time

    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, (_stacks() >> 20, _status("VmRSS"), _status("VmPTE"))
        gort.time.sleep(0.05)


@pytest.mark.skipif(SANITIZED, reason="the sanitizer's own memory grows with addresses")
@pytest.mark.parametrize("how", ["idle", "idle in C", "at once"])
@isolated()
def test_a_burst_leaves_nothing_behind(how: str) -> None:
    """Stacks, page tables and thread states of 40,000 go back, and the next ones are as good as the first."""
    import time

    from gort.runtime import debug

    _burst(50)()
    rss, tables, states = _status("VmRSS"), _status("VmPTE"), _thread_states()
    for _ in range(2):
        _burst(40_000)
        assert _status("VmRSS") > rss + 120_000 and _thread_states() > 40_000
        if how == "at once":
            debug.free_os_memory()
        elif how == "idle":
            _until(lambda: _status("VmRSS") < rss + 20_000 and _status("VmPTE") < tables + 2_000)
        else:
            deadline = time.monotonic() + 40
            while _status("VmPTE") > tables + 2_000 and time.monotonic() < deadline:
                time.sleep(3)
        # what is left is some dead ones at most, and what the interpreter keeps of their objects
        assert _stacks() <= 65 * 24 << 20
        assert _status("VmRSS") < rss + 20_000, (_status("VmRSS"), rss)
        assert _status("VmPTE") < tables + 2_000, (_status("VmPTE"), tables)
        assert _thread_states() <= states + 64


@pytest.mark.parametrize("keep", [2, 50, 2000])
@isolated()
def test_those_between_the_dead_stay_as_they_are(keep: int) -> None:
    import gc
    import random

    from gort import _core, runtime
    from gort.runtime import debug

    rng = random.Random(keep)
    ends = []
    for _ in range(6):
        ends.append(_burst(rng.randrange(300, 1500), keep))
        debug.free_os_memory()
        gc.collect()
        stacks = _stacks()
        alive = len(_core.goroutines())
        assert alive == runtime.num_goroutine() == len({g.goid for g in _core.goroutines()})
        assert runtime.stack(True).count("goroutine ") >= alive
        assert stacks <= (alive + 64) * 24 << 20
        if rng.random() < 0.4:
            ends.pop(rng.randrange(len(ends)))()
    for end in ends:
        end()
    debug.free_os_memory()
    assert len(_core.goroutines()) == 1


@isolated()
def test_giving_back_while_others_begin_and_end() -> None:
    """Goroutines and threads come and go while all that is dead is given back, over and over."""
    import random
    import threading

    from gort import go, runtime
    from gort.runtime import debug
    from gort.sync import WaitGroup
    from gort.time import sleep

    rng = random.Random(7)
    local = threading.local()
    total = WaitGroup()
    results = []

    def task(i: int) -> None:
        local.value = i
        if i % 3:
            sleep(rng.random() / 1000)
        else:
            runtime.gosched()
        results.append(local.value == i)
        total.done()

    def spawner(n: int) -> None:
        for i in range(n):
            total.add(1)
            go(task, i)
            if i % 50 == 0:
                sleep(0.0005)
        total.done()

    def giver() -> None:
        while len(results) < 2_400:
            debug.free_os_memory()
            sleep(0.001)

    for place in range(6):
        total.add(1)
        if place % 2:
            threading.Thread(target=spawner, args=(400,)).start()
        else:
            go(spawner, 400)
    go(giver)
    threading.Thread(target=giver).start()
    total.wait()
    assert results == [True] * 2_400


@isolated()
def test_fork_after_giving_back() -> None:
    """The child has no thread states of dead goroutines, given up or not, and gives its own ones back."""
    import os
    import warnings

    from gort.runtime import debug

    warnings.simplefilter("ignore")
    end = _burst(3000, 10)
    debug.free_os_memory()
    _burst(500)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _burst(5000)
            debug.free_os_memory()
            _burst(300, 3)()
            status = 0 if _thread_states() < 600 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    end()
    _burst(4000)


# -- sizes -----------------------------------------------------------------------------------------


@isolated()
def test_max_stack_holds_for_all_that_start_later() -> None:
    """Also where stacks of another size are free; and each size finds its own stacks again."""
    from gort import runtime
    from gort.runtime import debug

    sizes = [256 << 10, 3 << 20, 8 << 20, 64 << 20, 128 << 10]
    _burst(40)
    for i, size in enumerate(sizes + sizes):
        debug.set_max_stack(size)
        before = _stacks()
        _burst(40)
        above = 16 << 10 if sys.version_info >= (3, 14) else 0  # that its samplers read
        assert _stacks() - before == (0 if i >= 5 or size == 8 << 20 else 40 * (size + above))
    system, inuse = runtime.read_mem_stats().stack_sys, _stacks()
    for i in range(200):
        assert debug.set_max_stack(sizes[i % 5]) == sizes[(i - 1) % 5]
        _burst(40)
    assert _stacks() == inuse
    assert runtime.read_mem_stats().stack_sys < system + (8 << 20)  # a thread may have started


@isolated()
def test_addresses_are_used_for_another_size() -> None:
    """What a burst of one size left is cut into stacks of the next one."""
    from gort import runtime
    from gort.runtime import debug

    before = runtime.read_mem_stats().stack_sys
    for i in range(30):
        debug.set_max_stack((128 << 10) + i * 4096)
        _burst(1500)
        debug.free_os_memory()
    # of each size KEEP may be left somewhere, but in a few slabs
    assert runtime.read_mem_stats().stack_sys - before < 12 * 256 << 20


# -- guards ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["main", "goroutine"])
@isolated(status=-11, stderr="fatal error: unexpected signal during runtime execution\n...")
def test_the_guard_of_another_stack_is_no_overflow(where: str) -> None:
    """A stray pointer may hit it; only who left the own stack has overflowed it."""
    import ctypes

    from gort import chan, go, run

    run(int)
    with open("/proc/self/maps") as file:
        maps = [tuple(int(word, 16) for word in line.split()[0].split("-")) for line in file]
    slab = next(low for low, high in maps if high - low > 200 << 20 and low > 1 << 45)
    # bounds lie in the middle of what a page-table page maps
    guard = ((slab + (2 << 20) - 1) & -(2 << 20)) + (1 << 20)
    if where == "goroutine":
        go(chan().recv)  # that one has the first stack
        run(ctypes.string_at, guard + 64, 1)
    ctypes.string_at(guard + 64, 1)
