"""threading beside goroutines; and what is one per thread in CPython is one per goroutine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import ctypes
import decimal
import gc
import io
import logging
import queue
import random
import sys
import threading
import time
import weakref
from typing import Any

import pytest

import gort
from gort import chan, go, select
from gort.runtime import gosched, num_goroutine
from gort.sync import Mutex, Once, RWMutex, WaitGroup
from gort.time import Ticker, Timer, after, after_func, sleep
from harness import isolated
from helpers import must_recv, wait_until_parked


@isolated()
def test_threads_use_everything() -> None:
    """Plain threads meet goroutines in channels, select, locks and timers."""
    ch, results, mu, rw, wg = chan(), chan(5), Mutex(), RWMutex(), WaitGroup()
    total = [0]

    def work(n: int) -> None:
        for _ in range(20):
            index, value, ok = select(ch, after(60))
            assert index == 0 and ok
            with mu:
                total[0] += value
            rw.rlock()
            rw.runlock()
            sleep(0.0001)
        assert must_recv(Timer(0.001).c) > 0
        ticker = Ticker(0.001)
        ticker.c.recv()
        ticker.stop()
        fired = chan()
        after_func(0.001, fired.close)
        fired.recv()
        go(results.send, n)
        wg.done()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    wg.add(len(threads))
    for thread in threads:
        thread.start()
    for i in range(400):
        ch.send(i)
    assert sorted(must_recv(results) for _ in threads) == list(range(20))
    wg.wait()
    for thread in threads:
        thread.join()
    assert total[0] == sum(range(400))


@isolated()
def test_threads_start_goroutines() -> None:
    results = chan(100)

    def work(n: int) -> None:
        for i in range(10):
            go(results.send, (n, i))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    assert sorted(must_recv(results) for _ in range(100)) == [(n, i) for n in range(10) for i in range(10)]


@isolated()
def test_goroutines_start_threads() -> None:
    def body(n: int) -> None:
        results: list[int] = []
        thread = threading.Thread(target=results.append, args=(n,))
        thread.start()
        thread.join()
        assert results == [n]

    wg = WaitGroup()
    for n in range(50):
        wg.go(body, n)
    wg.wait()


@isolated()
def test_threading_locks_between_goroutines() -> None:
    """A goroutine parks while it holds a threading.Lock; others block in C until it is released."""
    lock, inside, passes, wg = threading.Lock(), [0], [0], WaitGroup()

    def work() -> None:
        for _ in range(10):
            with lock:
                inside[0] += 1
                assert inside[0] == 1
                gosched()
                sleep(0.0002)
                inside[0] -= 1
                passes[0] += 1

    for _ in range(10):
        wg.go(work)
    wg.wait()
    assert passes[0] == 100


@isolated()
def test_queues_and_events_and_conditions() -> None:
    items: queue.Queue[int] = queue.Queue(3)
    event, barrier = threading.Event(), threading.Barrier(5)
    wg, got = WaitGroup(), []

    def produce() -> None:
        event.wait()
        barrier.wait()
        for i in range(50):
            items.put(i)

    def consume() -> None:
        barrier.wait()
        for _ in range(50):
            got.append(items.get())

    for _ in range(2):
        wg.go(produce)
        wg.go(consume)
    go(event.set)
    barrier.wait()
    wg.wait()
    assert sorted(got) == sorted(list(range(50)) * 2)


@isolated()
def test_thread_pool_executor_in_goroutines() -> None:
    def body(n: int) -> None:
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            ch = chan()
            futures = [pool.submit(ch.send, i) for i in range(5)]
            assert sorted(must_recv(ch) for _ in range(5)) == list(range(5))
            assert [future.result() for future in futures] == [None] * 5
            assert list(pool.map(pow, range(5), [n] * 5)) == [i**n for i in range(5)]

    wg = WaitGroup()
    for n in range(10):
        wg.go(body, n)
    wg.wait()


@isolated()
def test_threading_timer() -> None:
    ch = chan()
    threading.Timer(0.01, ch.send, ["fired"]).start()
    assert ch.recv() == "fired"


@isolated()
def test_threading_local_is_per_goroutine() -> None:
    local, wg = threading.local(), WaitGroup()
    local.value = "main"
    refs = []

    class Thing:
        pass

    def body(n: int) -> None:
        assert not hasattr(local, "value")
        local.value = n
        local.thing = Thing()
        refs.append(weakref.ref(local.thing))
        for _ in range(5):
            gosched()
            sleep(0.0001)
            assert local.value == n

    for n in range(200):
        wg.go(body, n)
    wg.wait()
    assert local.value == "main"
    while num_goroutine() > 1:
        gosched()
    gc.collect()
    assert [ref() for ref in refs] == [None] * 200, "a goroutine's locals end with it"


@isolated()
def test_subclassed_local_starts_afresh() -> None:
    class Local(threading.local):
        def __init__(self) -> None:
            self.log: list[int] = []

    local = Local()

    def body(n: int) -> int:
        local.log.append(n)
        gosched()
        return len(local.log)

    assert [gort.run(body, n) for n in range(20)] == [1] * 20
    assert local.log == []


@isolated()
def test_context_is_copied_at_go() -> None:
    var: contextvars.ContextVar[Any] = contextvars.ContextVar("var", default="default")
    wg, seen = WaitGroup(), []

    def body(expected: Any) -> None:
        assert var.get() == expected
        var.set((expected, "own"))
        for _ in range(5):
            gosched()
            assert var.get() == (expected, "own")
        inner = chan()
        go(lambda: inner.send(var.get()))
        assert inner.recv() == (expected, "own")
        seen.append(expected)

    wg.go(body, "default")
    for n in range(50):
        token = var.set(n)
        wg.go(body, n)
        if n % 2:
            var.reset(token)
    wg.wait()
    assert len(seen) == 51
    assert var.get() == 48
    context = contextvars.copy_context()
    context.run(var.set, "inside")
    context.run(lambda: gort.run(body, "inside"))
    assert context[var] == "inside"


@isolated()
def test_context_run_may_park() -> None:
    """Goroutines inside context.run of two contexts do not mix them up; one context refuses two at once."""
    var: contextvars.ContextVar[int] = contextvars.ContextVar("var")
    wg = WaitGroup()

    def inside(n: int) -> None:
        var.set(n)
        for _ in range(10):
            gosched()
            assert var.get() == n

    for n in range(20):
        wg.go(contextvars.copy_context().run, inside, n)
    wg.wait()

    shared, gate = contextvars.copy_context(), chan()
    wg.go(shared.run, gate.recv)
    wait_until_parked(1, "chan receive")
    with pytest.raises(RuntimeError, match="already entered"):
        shared.run(print)
    gate.close()
    wg.wait()


@isolated()
def test_context_of_a_plain_thread() -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="default")
    var.set("main")
    results = chan(2)

    def thread() -> None:
        results.send(var.get())
        var.set("thread")
        go(lambda: results.send(var.get()))

    threading.Thread(target=thread).start()
    assert [results.recv(), results.recv()] == ["default", "thread"]


@isolated()
def test_decimal_contexts_are_per_goroutine() -> None:
    wg = WaitGroup()

    def body(precision: int) -> None:
        decimal.setcontext(decimal.Context(prec=precision))
        for _ in range(10):
            gosched()
            assert len(str(decimal.Decimal(1) / 3)) == precision + 2
        with decimal.localcontext() as context:
            context.prec = 3
            gosched()
            assert str(decimal.Decimal(1) / 3) == "0.333"
        gosched()
        assert decimal.getcontext().prec == precision

    for precision in range(5, 50):
        wg.go(body, precision)
    wg.wait()
    assert decimal.getcontext().prec == 28


@isolated(stderr="\n".join(["goroutine says {{\\d+}}"] * 100))
def test_logging_from_many_goroutines() -> None:
    logging.basicConfig(format="goroutine says %(message)s", level=logging.INFO)
    wg = WaitGroup()
    for n in range(100):
        wg.go(logging.info, "%d", n)
    wg.wait()


@isolated()
def test_current_thread_in_goroutines() -> None:
    """current_thread() answers in goroutines, and leaves no thousands of dummies behind."""
    wg, names = WaitGroup(), set()

    def body() -> None:
        names.add(threading.current_thread().name)
        gosched()
        assert threading.current_thread().is_alive()
        assert threading.current_thread().ident == threading.get_ident()

    for _ in range(1000):
        wg.go(body)
    wg.wait()
    assert threading.current_thread() is threading.main_thread()
    assert threading.active_count() < 50


@pytest.mark.parametrize("inside", [False, True])
@isolated()
def test_excepthook_names_who_runs(inside: bool) -> None:
    """By the identity that get_ident() gives, if no Thread object is given."""

    def said(thread: threading.Thread | None) -> str:
        out = io.StringIO()
        with contextlib.redirect_stderr(out):
            threading.excepthook(threading.ExceptHookArgs((ValueError, ValueError("x"), None, thread)))
        return out.getvalue()

    def check() -> None:
        assert said(None) == f"Exception in thread {threading.get_ident()}:\nValueError: x\n"
        assert said(threading.Thread(name="a name")) == "Exception in thread a name:\nValueError: x\n"

    gort.run(check) if inside else check()


@isolated()
def test_once_across_threads_and_goroutines() -> None:
    once, count, wg = Once(), [0], WaitGroup()

    def first() -> None:
        sleep(0.005)
        time.sleep(0.005)
        count[0] += 1

    def body() -> None:
        once.do(first)
        assert count[0] == 1

    for _ in range(20):
        wg.go(body)
    threads = [threading.Thread(target=body) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wg.wait()
    assert count[0] == 1


@isolated()
def test_many_short_threads_beside_goroutines() -> None:
    ch, rng, received = chan(), random.Random(5), chan(1)
    go(lambda: received.send([ch.recv() for _ in range(300)]))
    for i in range(300):
        thread = threading.Thread(target=ch.send, args=(i,))
        thread.start()
        if rng.random() < 0.5:
            gosched()
        thread.join()
    assert received.recv() == list(range(300))


@isolated()
def test_thread_that_ends_with_goroutines_of_its_own_alive() -> None:
    gate, results = chan(), chan()
    thread = threading.Thread(target=lambda: go(lambda: results.send(gate.recv())))
    thread.start()
    thread.join()
    gc.collect()
    gate.send("still there")
    assert results.recv() == "still there"


@isolated()
def test_async_exception_hits_the_thread_it_is_for() -> None:
    import ctypes

    class Stop(Exception):
        pass

    outcome = chan(1)

    def victim() -> None:
        try:
            ready.send(threading.get_ident())
            while True:
                time.sleep(0.001)
        except Stop:
            outcome.send("stopped")

    ready = chan(1)
    threading.Thread(target=victim).start()
    ident = must_recv(ready)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Stop)) == 1
    assert outcome.recv() == "stopped"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="a thread state's own bit from CPython 3.13 on")
@isolated()
def test_stale_request_to_drop_the_gil() -> None:
    """A request to give up the GIL that reached a parked goroutine is forgotten when it is resumed.

    Obeyed when no thread waits for the GIL, it would wait for ever for one to take it.
    """
    api = ctypes.pythonapi
    api.PyThreadState_Get.restype = ctypes.c_void_p
    addresses, gate, wg = chan(1), chan(), WaitGroup()

    def body() -> None:
        addresses.send(api.PyThreadState_Get())
        gate.recv()
        for _ in range(1000):
            pass

    wg.go(body)
    address = must_recv(addresses)
    wait_until_parked(1, "chan receive")
    # eval_breaker is the fourth word of PyThreadState, _PY_GIL_DROP_REQUEST_BIT its lowest bit.
    ctypes.c_size_t.from_address(address + 3 * ctypes.sizeof(ctypes.c_void_p)).value |= 1
    gate.send(None)
    wg.wait()


@pytest.mark.parametrize("procs", [1, 2])
@isolated()
def test_timer_of_a_thread_while_main_blocks(procs: int) -> None:
    """There has been no goroutine, and main is in C: somebody looks at the timers all the same."""
    gort.runtime.gomaxprocs(procs)
    woken = []

    def nap() -> None:
        for _ in range(3):
            gort.time.sleep(0.005)
        woken.append(1)

    thread = threading.Thread(target=nap, daemon=True)
    thread.start()
    thread.join(20)
    assert woken
