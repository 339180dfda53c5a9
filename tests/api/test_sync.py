"""Package gort.sync: what is built in Python on the core's locks. (Those are tested with the core.)"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, get_origin

import pytest

from gort import go, run
from gort.runtime import Error, goexit, gosched
from gort.sync import Cond, Map, Mutex, Once, Pool, RWMutex, WaitGroup, once_func, once_value
from harness import isolated
from helpers import Task, wait_until_parked

Spawn = Callable[..., Any]


class Thing:
    """Something that can be referred to weakly."""


# -- RWMutex ----------------------------------------------------------------------------------


def test_rlocker_is_the_readers_side() -> None:
    rw = RWMutex()
    reader = rw.rlocker()
    reader.lock()
    with reader:
        assert not rw.try_lock()
        assert rw.try_rlock()
        rw.runlock()
    reader.unlock()
    assert rw.try_lock()
    rw.unlock()
    with pytest.raises(Error, match="sync: RUnlock of unlocked RWMutex"):
        reader.unlock()


def test_cond_on_an_rlocker() -> None:
    rw = RWMutex()
    cond = Cond(rw.rlocker())
    cond.l.lock()
    waiter = Task("goroutine", lambda: (rw.rlock(), cond.wait(), rw.runlock()))
    cond.l.unlock()
    wait_until_parked(1, "sync.Cond.Wait")
    cond.signal()
    waiter.join()


# -- Once -------------------------------------------------------------------------------------


def test_once_runs_once() -> None:
    once, calls = Once(), []
    for i in range(3):
        once.do(lambda i=i: calls.append(i))  # type: ignore[misc]
    assert calls == [0]


def test_once_others_wait_for_the_first() -> None:
    once, log, gate = Once(), [], Mutex()
    gate.lock()

    def first() -> None:
        with gate:
            log.append("done")

    tasks = [Task("goroutine", lambda: (once.do(first), log.append("after"))) for _ in range(4)]
    wait_until_parked(4, "sync.Mutex.Lock")
    assert log == []
    gate.unlock()
    for task in tasks:
        task.join()
    assert log == ["done"] + ["after"] * 4


def test_once_that_raises_is_done() -> None:
    once, calls = Once(), []

    def fail() -> None:
        calls.append(1)
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        once.do(fail)
    once.do(fail)
    assert calls == [1]


def test_once_that_exits_its_goroutine_is_done() -> None:
    once, calls = Once(), []
    assert run(lambda: once.do(goexit)) is None
    once.do(lambda: calls.append(1))
    assert calls == []


def test_once_needs_a_callable() -> None:
    once: Any = Once()
    once.do(lambda: None)
    with pytest.raises(TypeError, match="not 5"):
        once.do(5)


def test_once_value() -> None:
    calls = []

    @once_value
    def answer() -> int:
        """What it is."""
        calls.append(1)
        return 42

    assert [answer(), answer()] == [42, 42]
    assert calls == [1]
    assert (answer.__name__, answer.__doc__) == ("answer", "What it is.")


def test_once_value_of_many_goroutines() -> None:
    calls = []

    def slow() -> object:
        calls.append(1)
        for _ in range(20):
            gosched()
        return object()

    value = once_value(slow)
    tasks = [Task("goroutine", value) for _ in range(20)]
    assert len({id(task.join()) for task in tasks}) == 1
    assert calls == [1]


def test_once_value_raises_the_same_exception_again() -> None:
    def fail() -> int:
        raise ValueError("first")

    value = once_value(fail)
    errors, lengths = [], []
    for _ in range(3):
        with pytest.raises(ValueError) as caught:
            value()
        errors.append(caught.value)
        lengths.append(len(list(caught.traceback)))
    assert errors[0] is errors[1] is errors[2]
    assert lengths[1] == lengths[2]


@isolated()
def test_once_value_whose_exception_parks_while_it_is_made() -> None:
    """C code may leave that to whoever takes the exception; another goroutine finds all of it or nothing."""
    making = []

    class Slow(Exception):
        def __init__(self) -> None:
            making.append(1)
            for _ in range(20):
                gosched()

    def fail() -> None:
        ctypes.pythonapi.PyErr_SetNone(ctypes.py_object(Slow))

    def call() -> None:
        with pytest.raises(Slow):
            value()

    value = once_value(fail)
    first = Task("goroutine", call)
    while not making:
        gosched()
    call()
    first.join()
    assert making == [1]


@isolated()
def test_once_drops_what_f_returns() -> None:
    thing = object()
    for returned in (thing, None):
        before = sys.getrefcount(returned)
        for _ in range(10000):
            Once().do(lambda returned=returned: returned)  # type: ignore[misc]
        assert sys.getrefcount(returned) - before < 100


def test_once_value_after_goexit() -> None:
    value = once_value(goexit)
    assert run(value) is None
    with pytest.raises(Error, match="goexit"):
        value()


def test_once_func() -> None:
    calls: list[int] = []
    call = once_func(lambda: calls.append(1) or "ignored")
    assert call() is None
    call()
    assert calls == [1]
    for make in (once_func, once_value):
        with pytest.raises(TypeError, match="not None"):
            make(None)  # type: ignore[arg-type]


# -- Cond -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [None, 5, object()])
def test_cond_needs_a_locker(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"lock\(\) and unlock\(\)"):
        Cond(bad)


def test_cond_wait_without_the_lock() -> None:
    cond = Cond(Mutex())
    with pytest.raises(Error, match="sync: unlock of unlocked mutex"):
        cond.wait()
    woken: list[int] = []

    def wait() -> None:
        with cond.l:
            cond.wait()
            woken.append(1)

    waiter = Task("goroutine", wait)
    wait_until_parked(1, "sync.Cond.Wait")
    cond.signal()  # goes to this one: nobody else is in the queue
    waiter.join()
    assert woken == [1]


class Gate:
    """A Locker of the program's own, whose unlock parks: signals come between queueing and parking."""

    def __init__(self, cond_signal: list[Callable[[], None]]) -> None:
        self.mutex, self.signals = Mutex(), cond_signal

    def lock(self) -> None:
        self.mutex.lock()

    def unlock(self) -> None:
        self.mutex.unlock()
        for hint in self.signals:
            hint()
        gosched()


def test_cond_signal_before_the_waiter_parks() -> None:
    signals: list[Callable[[], None]] = []
    gate = Gate(signals)
    cond = Cond(gate)
    signals.append(cond.signal)
    gate.lock()
    cond.wait()
    assert not gate.mutex.try_lock()
    gate.mutex.unlock()


def test_cond_whose_locker_fails_to_unlock_hands_the_signal_on() -> None:
    mu, woken = Mutex(), []

    class Failing(Gate):
        def unlock(self) -> None:
            cond.signal()  # for the one that waits longest: this very waiter
            raise ValueError("no")

    failing = Failing([])
    cond = Cond(failing)

    def other() -> None:
        failing.lock = mu.lock  # type: ignore[method-assign]
        failing.unlock = mu.unlock  # type: ignore[method-assign]
        mu.lock()
        cond.wait()
        woken.append(1)
        mu.unlock()

    waiter = Task("goroutine", other)
    wait_until_parked(1, "sync.Cond.Wait")
    del failing.unlock
    with pytest.raises(ValueError, match="no"):
        cond.wait()
    waiter.join()
    assert woken == [1]


# -- Pool -------------------------------------------------------------------------------------


def test_pool_gives_back_what_was_put() -> None:
    pool: Pool[Thing] = Pool()
    assert pool.get() is None
    thing = Thing()
    pool.put(thing)
    pool.put(None)
    assert pool.get() is thing
    assert pool.get() is None


def test_pool_makes_new_ones() -> None:
    pool = Pool(Thing)
    first = pool.get()
    assert isinstance(first, Thing)
    pool.put(first)
    assert pool.get() is first
    assert pool.get() is not first
    pool.new = None
    assert pool.get() is None


def test_pool_is_emptied_by_two_collections() -> None:
    pool: Pool[Thing] = Pool()
    thing = Thing()
    ref = weakref.ref(thing)
    pool.put(thing)
    del thing
    gc.collect()
    assert ref() is not None
    gc.collect()
    assert ref() is None
    assert pool.get() is None


def test_pool_keeps_what_is_used_between_collections() -> None:
    pool: Pool[Thing] = Pool()
    thing = Thing()
    pool.put(thing)
    for _ in range(4):
        gc.collect()
        assert pool.get() is thing
        pool.put(thing)


@isolated()
def test_ctrl_c_in_a_collection_is_not_lost_to_the_pools() -> None:
    """The collector would drop what a signal handler raises, if the pools had Python code in there."""
    kept = [[i] for i in range(300_000)]  # a collection takes some milliseconds
    pool = Pool(Thing)
    pool.put(Thing())
    gc.collect()
    pid = os.getpid()
    for _ in range(20):
        with pytest.raises(KeyboardInterrupt):
            threading.Timer(0.005, os.kill, (pid, signal.SIGINT)).start()
            while True:
                gc.collect()
                pool.put(Thing())
    assert len(kept) == 300_000


def test_pool_itself_is_freed() -> None:
    pool = Pool(Thing)
    ref = weakref.ref(pool)
    del pool
    assert ref() is None
    gc.collect()


def test_pool_needs_a_callable() -> None:
    with pytest.raises(TypeError, match="not 5"):
        Pool(5)  # type: ignore[arg-type]


# -- Map --------------------------------------------------------------------------------------


def test_map_operations() -> None:
    m: Map[str, Any] = Map()
    assert m.load("a") == (None, False)
    m.store("a", 1)
    assert m.load("a") == (1, True)
    assert m.load_or_store("a", 2) == (1, True)
    assert m.load_or_store("b", 2) == (2, False)
    assert m.swap("b", 3) == (2, True)
    assert m.swap("c", 4) == (None, False)
    assert m.load_and_delete("c") == (4, True)
    assert m.load_and_delete("c") == (None, False)
    m.delete("c")
    assert sorted(m.items()) == [("a", 1), ("b", 3)]
    m.clear()
    assert list(m.items()) == []


def test_map_holds_none() -> None:
    m: Map[str, Any] = Map()
    m.store("a", None)
    assert m.load("a") == (None, True)
    assert m.load_or_store("a", 1) == (None, True)
    assert m.load_and_delete("a") == (None, True)


def test_map_compare_and() -> None:
    m: Map[str, Any] = Map()
    assert not m.compare_and_swap("a", None, 1)
    assert not m.compare_and_delete("a", None)
    m.store("a", [1])
    assert not m.compare_and_swap("a", [2], "new")
    assert m.compare_and_swap("a", [1], "new")
    assert not m.compare_and_delete("a", "old")
    assert m.compare_and_delete("a", "new")
    assert m.load("a") == (None, False)


def test_map_range_sees_every_key_and_may_change_the_map() -> None:
    m: Map[int, int] = Map()
    for i in range(5):
        m.store(i, i * i)
    seen = {}

    def visit(key: int, value: int) -> None:
        seen[key] = value
        m.delete(key)
        m.store(key + 100, value)

    m.range(visit)
    assert seen == {i: i * i for i in range(5)}
    assert sorted(key for key, _ in m.items()) == [100, 101, 102, 103, 104]


def test_map_range_stops_at_false() -> None:
    m: Map[int, int] = Map()
    for i in range(5):
        m.store(i, i)
    seen: list[int] = []
    m.range(lambda key, value: (seen.append(key), len(seen) < 3)[1])
    assert len(seen) == 3
    with pytest.raises(TypeError, match="not None"):
        m.range(None)  # type: ignore[arg-type]


def test_map_counts_right(spawn: Spawn) -> None:
    m: Map[str, int] = Map()
    m.store("n", 0)

    def increment() -> None:
        for _ in range(100):
            while True:
                n, _ = m.load("n")
                gosched()
                assert n is not None
                if m.compare_and_swap("n", n, n + 1):
                    break

    for task in [spawn(increment) for _ in range(4)]:
        task.join()
    assert m.load("n") == (400, True)


def test_map_load_or_store_lets_one_win() -> None:
    m: Map[str, object] = Map()
    winners: list[bool] = []
    group = WaitGroup()

    def contend() -> None:
        winners.append(not m.load_or_store("key", object())[1])
        group.done()

    group.add(20)
    for _ in range(20):
        go(contend)
    group.wait()
    assert winners.count(True) == 1


class Key:
    """A key whose methods are the program's own code, and which parks in them."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __hash__(self) -> int:
        gosched()
        return 7  # all in one chain

    def __eq__(self, other: object) -> bool:
        gosched()
        return isinstance(other, Key) and self.n == other.n


def test_map_keys_that_park() -> None:
    """Each goroutine adds 1 to each counter; compare_and_swap loses none while keys come and go."""
    m: Map[Key, int] = Map()
    wg = WaitGroup()

    def count(me: int) -> None:
        own = Key(100 + me)
        for _ in range(3):
            for k in range(5):
                m.store(own, 0)
                while True:
                    value, there = m.load_or_store(Key(k), 1)
                    if not there or m.compare_and_swap(Key(k), value, value + 1):
                        break
                m.delete(own)

    for me in range(6):
        wg.go(count, me)
    wg.wait()
    assert sorted((key.n, value) for key, value in m.items()) == [(k, 18) for k in range(5)]


def test_map_deletes_each_value_once() -> None:
    m: Map[Key, int] = Map()
    wg, taken = WaitGroup(), []

    def take() -> None:
        for k in range(10):
            value, there = m.load_and_delete(Key(k))
            if there:
                taken.append(value)
            if m.compare_and_delete(Key(k), k):
                taken.append(k)

    for k in range(10):
        m.store(Key(k), k)
    for _ in range(4):
        wg.go(take)
    wg.wait()
    assert sorted(taken) == list(range(10))  # type: ignore[type-var]


def test_map_destructors_find_the_map_unlocked() -> None:
    m: Map[Any, Any] = Map()
    seen = []

    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

        def __hash__(self) -> int:
            return hash(self.name)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Entry) and self.name == other.name

        def __del__(self) -> None:
            m.store("index", self.name)
            seen.append((self.name, m.load(self.name), m.load_and_delete("index")))

    m.store("v", Entry("value"))
    m.store("v", None)
    m.store("v", Entry("swapped"))
    m.swap("v", None)
    m.store("v", Entry("compared"))
    old = m.load("v")[0]
    assert m.compare_and_swap("v", old, None)
    del old
    m.store(Entry("key"), 1)
    m.delete(Entry("key"))
    m.store(Entry("key 2"), 1)
    assert m.compare_and_delete(Entry("key 2"), 1)
    m.store(Entry("key 3"), Entry("value 3"))
    m.clear()
    names = [name for name, _, _ in seen]
    assert {"value", "swapped", "compared", "key", "key 2", "key 3", "value 3"} == set(names)
    assert all(there == (None, False) and index == (name, True) for name, there, index in seen)


def test_map_is_freed_with_its_cycle() -> None:
    m: Map[str, Any] = Map()
    thing = Thing()
    thing.map = m  # type: ignore[attr-defined]
    m.store("thing", thing)
    reference = weakref.ref(thing)
    del m, thing
    gc.collect()
    assert reference() is None


def test_map_in_map_in_map() -> None:
    m: Map[str, Any] = Map()
    for _ in range(300_000):
        outer: Map[str, Any] = Map()
        outer.store("inner", m)
        m = outer
    del m, outer


def test_map_grows_and_keeps_its_order() -> None:
    m: Map[int, int] = Map()
    for i in range(10_000):
        m.store(i, -i)
    for i in range(0, 10_000, 2):
        m.delete(i)
    m.store(0, 1)
    assert list(m.items()) == [(i, -i) for i in range(1, 10_000, 2)] + [(0, 1)]
    assert get_origin(Map[int, str]) is Map
    for bad in (m.store, m.swap, m.load_or_store, m.compare_and_delete):
        with pytest.raises(TypeError, match="takes 2 arguments, got 1"):
            bad(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unhashable"):
        m.store([], 1)  # type: ignore[arg-type]
