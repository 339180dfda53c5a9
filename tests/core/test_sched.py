"""The scheduler: starting and ending goroutines, fairness, handoff, preemption, introspection."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time as python_time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import gort
from gort import _core, chan, default, go, select
from gort.runtime import (
    Error,
    goexit,
    gomaxprocs,
    gosched,
    lock_os_thread,
    num_cpu,
    num_goroutine,
    unlock_os_thread,
)
from gort.sync import Mutex, WaitGroup
from gort.time import after_func, sleep
from harness import isolated
from helpers import Task, must_recv, parked, run_in, wait_until, wait_until_parked

Spawn = Callable[..., Any]


# -- go ---------------------------------------------------------------------------------------


def test_go_passes_arguments(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        results = chan(1)
        assert go(lambda *args, **kwargs: results.send((args, kwargs)), 1, "two", k=3) is None
        assert results.recv() == ((1, "two"), {"k": 3})

    anywhere(body)


def test_go_takes_any_callable() -> None:
    class Callable_:
        def __call__(self, ch: Any) -> None:
            ch.send("object")

        def method(self, ch: Any) -> None:
            ch.send("method")

        @classmethod
        def of_class(cls, ch: Any) -> None:
            ch.send("class method")

        @staticmethod
        def static(ch: Any) -> None:
            ch.send("static method")

    ch = chan()
    for fn in (Callable_(), Callable_().method, Callable_.of_class, Callable_.static):
        go(fn, ch)
    assert {ch.recv() for _ in range(4)} == {"object", "method", "class method", "static method"}
    go(ch.send, "built in")
    assert ch.recv() == "built in"
    go(print, end="", file=open(os.devnull, "w"))


@pytest.mark.parametrize("fn", [None, 3, "f", [], object()])
def test_go_of_what_cannot_be_called(fn: Any) -> None:
    before = num_goroutine()
    with pytest.raises(TypeError) as failure:
        go(fn)
    assert type(fn).__name__ in str(failure.value) or repr(fn) in str(failure.value)
    assert num_goroutine() == before


def test_go_of_nothing() -> None:
    with pytest.raises(TypeError):
        go()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        go(fn=print)  # type: ignore[call-arg]


def test_results_are_dropped() -> None:
    class Thing:
        pass

    refs = []

    def make() -> Thing:
        thing = Thing()
        refs.append(weakref.ref(thing))
        return thing

    wg = WaitGroup()
    wg.go(make)
    wg.wait()
    gosched()
    gc.collect()
    assert refs[0]() is None


def test_reference_counts() -> None:
    class Thing:
        pass

    def fn(*args: Any, **kwargs: Any) -> None:
        gosched()

    thing = Thing()
    before = sys.getrefcount(thing), sys.getrefcount(fn), sys.getrefcount(None)
    wg = WaitGroup()
    for _ in range(200):
        wg.go(fn, thing, k=thing)
    wg.wait()
    wait_until(lambda: num_goroutine() == 1)
    gc.collect()
    assert (sys.getrefcount(thing), sys.getrefcount(fn)) == before[:2]
    assert abs(sys.getrefcount(None) - before[2]) < 100 or sys.version_info >= (3, 12)


def test_start_order_is_not_lifo_for_ever() -> None:
    """Many goroutines started at once all run, each once."""
    wg = WaitGroup()
    seen: list[Any] = []
    for i in range(2000):
        wg.go(seen.append, i)
    wg.wait()
    assert sorted(seen) == list(range(2000))


def test_nested_starts() -> None:
    count, wg = [0], WaitGroup()

    def tree(depth: int) -> None:
        count[0] += 1
        if depth:
            wg.go(tree, depth - 1)
            wg.go(tree, depth - 1)

    wg.go(tree, 10)
    wg.wait()
    assert count[0] == 2**11 - 1


def test_exceptions_stay_in_their_goroutine() -> None:
    """What is being handled in one goroutine is not seen in another one."""
    wg = WaitGroup()
    seen: list[Any] = []

    def handle(n: int) -> None:
        try:
            raise ValueError(n)
        except ValueError as error:
            for _ in range(5):
                gosched()
                assert sys.exc_info()[1] is error
        assert sys.exc_info() == (None, None, None)
        seen.append(n)

    def innocent() -> None:
        for _ in range(10):
            assert sys.exc_info() == (None, None, None)
            gosched()

    try:
        raise KeyError
    except KeyError as outer:
        for n in range(20):
            wg.go(handle, n)
            wg.go(innocent)
        wg.wait()
        assert sys.exc_info()[1] is outer
    assert sorted(seen) == list(range(20))


# -- run --------------------------------------------------------------------------------------


def test_run(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        assert gort.run(lambda a, b: a + b, 1, b=2) == 3
        with pytest.raises(ZeroDivisionError):
            gort.run(lambda: 1 // 0)
        assert gort.run(lambda: gort.run(_core.goid)) not in (0, 1)

    anywhere(body)


def test_run_of_goexit() -> None:
    """A function that ends by goexit has no result; run() must not wait for ever."""
    try:
        assert gort.run(goexit) is None
    except (Error, _core.Goexit):
        pass


# -- identity ---------------------------------------------------------------------------------


def test_goid() -> None:
    assert _core.goid() == 1 and _core.is_main()
    ids = [run_in("goroutine", lambda: (_core.goid(), _core.is_main())) for _ in range(50)]
    assert len({goid for goid, _ in ids}) == 50, "numbers are not used again"
    assert all(goid > 1 and not main for goid, main in ids)
    assert run_in("thread", lambda: (_core.goid(), _core.is_main())) == (0, False)


def test_num_goroutine() -> None:
    gate = chan()
    before = num_goroutine()
    for _ in range(100):
        go(gate.recv)
    assert num_goroutine() == before + 100
    gate.close()
    wait_until(lambda: num_goroutine() == before)


def test_goroutines_say_what_they_do() -> None:
    gate = chan()

    def here() -> None:
        gate.recv()

    before = python_time.monotonic()
    go(here)
    wait_until_parked(1, "chan receive")
    infos = {info.wait_reason: info for info in _core.goroutines()}
    info = infos["chan receive"]
    assert info.status == "waiting" and not info.locked and info.parent == 1
    assert info.frame is not None and info.frame.f_code is here.__code__
    assert info.created_code is test_goroutines_say_what_they_do.__code__
    assert before - 1 <= info.wait_since <= python_time.monotonic() + 1
    main = next(info for info in _core.goroutines() if info.goid == 1)
    assert main.status == "running" and main.parent == 0 and main.wait_reason == ""
    del infos, info
    gate.close()


def test_goroutines_in_c_are_in_syscall_or_running() -> None:
    r, w = os.pipe()
    task = Task("goroutine", os.read, r, 1)
    sleep(0.02)
    statuses = [info.status for info in _core.goroutines() if info.goid not in (1,)]
    assert statuses and set(statuses) <= {"syscall", "running"}
    os.write(w, b"x")
    assert task.join() == b"x"
    os.close(r)
    os.close(w)


# -- gosched ----------------------------------------------------------------------------------


def test_goroutines_that_yield_all_advance(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        counts, stop, wg = [0] * 8, [False], WaitGroup()

        def spin(n: int) -> None:
            while not stop[0]:
                counts[n] += 1
                gosched()

        for n in range(8):
            wg.go(spin, n)
        wait_until(lambda: min(counts) > 200, "all have advanced")
        stop[0] = True
        wg.wait()

    anywhere(body)


def test_gosched_alone() -> None:
    for _ in range(1000):
        gosched()


def test_yielders_do_not_starve_sleepers_and_others() -> None:
    stop, wg = [False], WaitGroup()

    def spin() -> None:
        while not stop[0]:
            gosched()

    for _ in range(4):
        wg.go(spin)
    sleep(0.01)
    assert run_in("goroutine", lambda: 5) == 5
    assert run_in("thread", lambda: 6) == 6
    stop[0] = True
    wg.wait()


# -- handoff and preemption -------------------------------------------------------------------


@pytest.mark.parametrize("procs", [1, 2, 4])
def test_goroutine_blocked_in_c_does_not_stop_the_others(procs: int) -> None:
    """Each of 20 goroutines blocks in read(2) until the next one, which needs the scheduler, has written."""
    old = gomaxprocs(procs)
    try:
        pipes = [os.pipe() for _ in range(21)]
        wg = WaitGroup()

        def relay(i: int) -> None:
            data = os.read(pipes[i][0], 100)
            gosched()
            os.write(pipes[i + 1][1], data + b"+")

        for i in range(20):
            wg.go(relay, i)
        sleep(0.005)
        os.write(pipes[0][1], b"x")
        assert os.read(pipes[20][0], 100) == b"x" + b"+" * 20
        wg.wait()
        for r, w in pipes:
            os.close(r)
            os.close(w)
    finally:
        gomaxprocs(old)


def test_main_blocked_in_c_does_not_stop_the_others() -> None:
    event, lock = threading.Event(), threading.Lock()
    lock.acquire()
    go(event.set)
    go(lock.release)
    assert event.wait(60)
    assert lock.acquire(timeout=60)


@pytest.mark.parametrize("procs", [1, 2])
def test_busy_goroutine_does_not_stop_the_others(procs: int) -> None:
    old = gomaxprocs(procs)
    try:
        stop, wg = [False], WaitGroup()

        def spin() -> None:
            deadline = python_time.monotonic() + 60
            while not stop[0]:
                assert python_time.monotonic() < deadline, "nobody else could run"

        for _ in range(3):
            wg.go(spin)
        go(stop.__setitem__, 0, True)
        wg.wait()
    finally:
        gomaxprocs(old)


def test_busy_main_does_not_stop_the_others() -> None:
    ticks = []

    def tick() -> None:
        for i in range(5):
            ticks.append(i)
            sleep(0.001)

    go(tick)
    deadline = python_time.monotonic() + 60
    while len(ticks) < 5:
        assert python_time.monotonic() < deadline, "the other goroutine could not run"


@isolated()
def test_goroutine_that_gives_up_the_gil_for_moments_does_not_starve_the_others() -> None:
    """It has it back before any other thread has woken up, and each time the others start to wait anew."""
    written = 0

    def write() -> None:
        nonlocal written
        numbers = range(150_000)
        while True:
            sum(numbers)  # some milliseconds, less than the switch interval
            os.write(null, b"x")
            written += 1

    null = os.open(os.devnull, os.O_WRONLY)
    go(write)
    steps = []
    for _ in range(40):
        before = written
        sleep(0.001)
        steps.append(written - before)
    assert sorted(steps)[20] < 15  # about 3; hundreds if main has to be lucky


def test_handoffs_are_counted() -> None:
    before = _core._thread_stats()
    wg = WaitGroup()
    for _ in range(10):
        wg.go(python_time.sleep, 0.05)
    go(gosched)
    wg.wait()
    after = _core._thread_stats()
    assert after.handoffs > before.handoffs
    assert after.threads >= 1 and after.created >= after.threads >= after.idle


def test_threads_are_used_again() -> None:
    def round_() -> None:
        wg = WaitGroup()
        for _ in range(8):
            wg.go(python_time.sleep, 0.01)
        wg.wait()

    round_()
    created = _core._thread_stats().created
    for _ in range(10):
        round_()
    assert _core._thread_stats().created <= created + 16


# -- gomaxprocs -------------------------------------------------------------------------------


def test_gomaxprocs_gives_the_old_value() -> None:
    old = gomaxprocs(0)
    assert old >= 1
    for n in (1, 2, 16, 3):
        gomaxprocs(n)
        assert gomaxprocs(0) == gomaxprocs() == n
    assert gomaxprocs(-5) == 3 and gomaxprocs(0) == 3
    assert gomaxprocs(old) == 3


@pytest.mark.parametrize("n", ["2", None, 1.5, [], {}])
def test_gomaxprocs_bad_input(n: Any) -> None:
    with pytest.raises(TypeError):
        gomaxprocs(n)


def test_gomaxprocs_huge() -> None:
    with pytest.raises((ValueError, OverflowError)):
        gomaxprocs(2**70)


def test_gomaxprocs_while_running() -> None:
    old = gomaxprocs(0)
    try:
        ch, wg, total = chan(3), WaitGroup(), [0]

        def produce() -> None:
            for i in range(300):
                ch.send(i)

        def consume() -> None:
            for value in ch:
                total[0] += value

        consumers = WaitGroup()
        for _ in range(4):
            wg.go(produce)
            consumers.go(consume)
        for n in (1, 4, 2, 8, 1, 3) * 5:
            gomaxprocs(n)
            gosched()
        wg.wait()
        ch.close()
        consumers.wait()
        assert total[0] == 4 * sum(range(300))
    finally:
        gomaxprocs(old)


def test_num_cpu() -> None:
    assert 1 <= num_cpu() <= (os.cpu_count() or 1)


# -- lock_os_thread ---------------------------------------------------------------------------


def test_locked_goroutine_keeps_its_thread_and_shares_it_with_nobody() -> None:
    mine, others, wg = set(), set(), WaitGroup()
    stop = [False]

    def locked() -> None:
        lock_os_thread()
        for _ in range(100):
            mine.add(threading.get_native_id())
            gosched()
            sleep(0.0001)
        stop[0] = True
        unlock_os_thread()

    def free() -> None:
        while not stop[0]:
            others.add(threading.get_native_id())
            gosched()

    wg.go(locked)
    sleep(0.001)
    for _ in range(3):
        wg.go(free)
    wg.wait()
    assert len(mine) == 1


def test_lock_os_thread_nests() -> None:
    def body() -> None:
        lock_os_thread()
        lock_os_thread()
        unlock_os_thread()
        ident = threading.get_native_id()
        for _ in range(20):
            sleep(0.0001)
            assert threading.get_native_id() == ident
        assert next(info.locked for info in _core.goroutines() if info.goid == _core.goid())
        unlock_os_thread()
        assert not next(info.locked for info in _core.goroutines() if info.goid == _core.goid())

    run_in("goroutine", body)


def test_goroutine_that_ends_locked_ends_its_thread() -> None:
    idents = []

    def body() -> None:
        lock_os_thread()
        idents.append(threading.get_native_id())

    for _ in range(10):
        wg = WaitGroup()
        wg.go(body)
        wg.wait()
        wait_until(lambda: num_goroutine() == 1)
    main = threading.get_native_id()
    assert main not in idents
    wait_until(
        lambda: not any(os.path.exists(f"/proc/self/task/{ident}") for ident in idents), "threads ended"
    )


def test_locked_goroutines_talk() -> None:
    a, b = chan(), chan()

    def echo() -> None:
        lock_os_thread()
        for value in a:
            b.send(value + 1)
        unlock_os_thread()

    go(echo)
    lock_os_thread()
    for i in range(200):
        a.send(i)
        assert b.recv() == i + 1
    unlock_os_thread()
    a.close()


def test_main_goroutine_stays_on_the_main_thread_when_locked() -> None:
    lock_os_thread()
    for _ in range(50):
        sleep(0.0001)
        assert threading.get_native_id() == os.getpid()
    unlock_os_thread()


# -- goexit -----------------------------------------------------------------------------------


@isolated()
def test_main_locks_itself_while_its_thread_is_occupied() -> None:
    """It waits until the other has left the main thread, and holds nobody up meanwhile."""
    reading, writing = os.pipe()
    home = threading.get_native_id()

    def occupier(begin: Any, where: Any) -> None:
        begin.recv()  # it parks, so it may go on on the main thread
        where.send(threading.get_native_id())
        os.read(reading, 1)

    def others() -> None:
        for _ in range(1000):
            gosched()
        sleep(0.005)
        for _ in range(1000):
            gosched()
        os.write(writing, b"x")

    def occupied() -> bool:
        begin, where = chan(), chan(1)
        go(occupier, begin, where)
        sleep(0.001)
        begin.send(None)
        sleep(0.01)  # it is in C there; main goes on somewhere else
        return where.recv() == home != threading.get_native_id()

    while not occupied():
        os.write(writing, b"x")
    for _ in range(3):
        go(others)
    lock_os_thread()
    assert threading.get_native_id() == home
    sleep(0.001)
    assert threading.get_native_id() == home
    unlock_os_thread()


@isolated()
def test_locked_main_is_found_whatever_wakes_its_thread() -> None:
    """It is made runnable while its thread, woken by a signal, waits for the GIL."""
    import signal

    handled = []
    signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
    lock_os_thread()
    ch = chan()

    def sender() -> None:
        for i in range(300):
            end = python_time.monotonic() + 0.002  # with the GIL, until the signal has come
            os.kill(os.getpid(), signal.SIGALRM)
            while python_time.monotonic() < end:
                pass
            ch.send(i)
            sleep(0.0001)

    go(sender)
    assert [ch.recv() for _ in range(300)] == list(range(300))
    assert handled


@isolated()
def test_what_follows_a_locked_goroutine_is_on_another_thread() -> None:
    """Even if it is the same g: a timer is due when it ends, and starts a goroutine."""
    threads = []

    def locked(i: int, done: Any) -> None:
        lock_os_thread()
        threads.append(threading.get_native_id())
        after_func(0.0002, lambda: following(done))
        end = python_time.monotonic() + 0.0002 + i % 50 * 2e-5
        while python_time.monotonic() < end:
            pass  # sysmon says that the timer is due; it must not have taken the P away yet

    def following(done: Any) -> None:
        # the thread of the other has ended, or is about to
        done.send(threading.get_native_id() != threads[-1])

    for i in range(500):
        done = chan(1)
        go(locked, i, done)
        assert done.recv()


def test_goexit_runs_finally_blocks() -> None:
    log, wg = [], WaitGroup()

    def generator() -> Any:
        try:
            yield 1
            goexit()
        finally:
            log.append("generator")

    def worker() -> None:
        try:
            try:
                for _ in generator():
                    pass
            except Exception:
                log.append("wrong")
        finally:
            log.append("worker")

    wg.go(worker)
    wg.wait()
    assert log == ["generator", "worker"]


def test_goexit_in_a_thread() -> None:
    """A plain thread is not a goroutine: goexit cannot end it silently."""
    with pytest.raises((Error, _core.Goexit)):
        run_in("thread", goexit)


def test_finally_may_park_during_goexit() -> None:
    a, wg = chan(), WaitGroup()

    def worker() -> None:
        try:
            goexit()
        finally:
            a.send("from finally")
            sleep(0.001)
            with Mutex():
                pass

    wg.go(worker)
    assert a.recv() == "from finally"
    wg.wait()


# -- lots -------------------------------------------------------------------------------------


def test_goroutines_are_cheap_to_start_and_end() -> None:
    count, wg = [0], WaitGroup()

    def add() -> None:
        count[0] += 1

    for _ in range(20):
        for _ in range(1000):
            wg.go(add)
        wg.wait()
    assert count[0] == 20000


def test_deep_stacks_switch() -> None:
    """Goroutines park deep in Python and C frames and come back to them."""
    ch, wg, sums = chan(), WaitGroup(), []

    def dive(depth: int) -> int:
        if depth == 0:
            return must_recv(ch)
        if depth % 10 == 0:
            return 1 + max(map(dive, [depth - 1]))
        return 1 + dive(depth - 1)

    for _ in range(50):
        wg.go(lambda: sums.append(dive(200)))
    wait_until_parked(50, "chan receive")
    gc.collect()
    for i in range(50):
        ch.send(i * 1000)
    wg.wait()
    assert sorted(sums) == [200 + i * 1000 for i in range(50)]


def test_switch_inside_sort_and_comprehension() -> None:
    def key(value: int) -> int:
        gosched()
        return -value

    def work(n: int) -> list[int]:
        return sorted([gosched() or (value * n) % 17 for value in range(30)], key=key)

    tasks = [Task("goroutine", work, n) for n in range(20)]
    for n, task in enumerate(tasks):
        assert task.join() == sorted([(value * n) % 17 for value in range(30)], reverse=True)


def test_main_is_woken_by_the_last_of_many() -> None:
    ch = chan()
    for n in (1, 10, 500):
        for _ in range(n):
            go(lambda: (gosched(), ch.send(1)))
        assert sum(must_recv(ch) for _ in range(n)) == n
    assert select(ch, default)[0] == 1
    assert parked("chan send") == 0


@pytest.mark.parametrize("start", ["go", "WaitGroup.go"])
@isolated()
def test_functions_that_only_park_run_on_the_main_thread(start: str) -> None:
    """Once one goroutine of a function has parked without blocking in C, the next ones start beside main.

    They need not end first, and what WaitGroup.go starts is known by its own function.
    """
    wg, out, never = WaitGroup(), chan(), chan()
    begin = {"go": go, "WaitGroup.go": wg.go}[start]

    def blocks() -> None:
        python_time.sleep(0.05)

    def parks() -> None:
        out.send(threading.get_native_id())
        never.recv()

    blocker = WaitGroup()
    blocker.go(blocks)
    blocker.wait()
    ids = []
    for _ in range(3):
        begin(parks)
        ids.append(out.recv())
    assert ids[0] != threading.get_native_id()
    assert ids[1:] == [threading.get_native_id()] * 2
