"""Mutex, RWMutex, WaitGroup, Cond and the semaphore: exclusion, order, misuse, no lost wake-ups."""

from __future__ import annotations

import gc
import random
import sys
import threading
import time as python_time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from gort import _core, chan
from gort.runtime import Error, goexit, gosched
from gort.sync import Cond, Mutex, RWMutex, WaitGroup
from gort.time import sleep
from helpers import Task, wait_until, wait_until_parked

Spawn = Callable[..., Any]


class Thing:
    """Something that can be referred to weakly."""


# -- Mutex ------------------------------------------------------------------------------------


def test_mutex_excludes(spawn: Spawn) -> None:
    mu, inside, passes = Mutex(), [0], [0]

    def work(pause: Callable[[], Any]) -> None:
        for _ in range(50):
            with mu:
                inside[0] += 1
                assert inside[0] == 1
                pause()
                passes[0] += 1
                inside[0] -= 1

    pauses = [gosched, lambda: sleep(0), lambda: python_time.sleep(0.0001), lambda: None]
    tasks = [spawn(work, pause) for pause in pauses * 3]
    tasks.append(Task("thread", work, gosched))
    for task in tasks:
        task.join()
    assert passes[0] == 50 * 13


def test_mutex_try_lock(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        mu = Mutex()
        assert mu.try_lock() is True
        assert mu.try_lock() is False
        mu.unlock()
        with mu as entered:
            assert entered is mu and not mu.try_lock()
        assert mu.try_lock()
        mu.unlock()

    anywhere(body)


@pytest.mark.parametrize("place", ["goroutine", "thread"])
def test_mutex_is_not_owned(place: str) -> None:
    """As in Go, one may lock and another unlock."""
    mu = Mutex()
    mu.lock()
    Task(place, mu.unlock).join()
    assert mu.try_lock()
    mu.unlock()


def test_mutex_waiters_in_order() -> None:
    mu, order = Mutex(), []
    mu.lock()
    tasks = []
    for i in range(20):
        tasks.append(
            Task(("goroutine", "thread")[i % 2], lambda i=i: (mu.lock(), order.append(i), mu.unlock()))
        )
        wait_until_parked(i + 1, "sync.Mutex.Lock")
    mu.unlock()
    for task in tasks:
        task.join()
    assert sorted(order) == list(range(20))


def test_mutex_starvation_mode_hands_over() -> None:
    """A goroutine that unlocks and locks at once cannot keep a waiter out for ever."""
    mu, stop, got = Mutex(), [False], []

    def greedy() -> None:
        while not stop[0]:
            with mu:
                python_time.sleep(0.002)

    def modest() -> None:
        for _ in range(5):
            with mu:
                got.append(1)
        stop[0] = True

    tasks = [Task("goroutine", greedy), Task("goroutine", greedy), Task("goroutine", modest)]
    for task in tasks:
        task.join()
    assert len(got) == 5


def test_mutex_unlocks_when_its_block_raises() -> None:
    mu = Mutex()
    with pytest.raises(ZeroDivisionError), mu:
        raise ZeroDivisionError
    assert mu.try_lock()


def test_mutex_unlocks_on_goexit() -> None:
    mu = Mutex()

    def worker() -> None:
        with mu:
            goexit()

    wg = WaitGroup()
    wg.go(worker)
    wg.wait()
    assert mu.try_lock()


@pytest.mark.parametrize(
    "misuse, text",
    [
        (lambda: Mutex().unlock(), "sync: unlock of unlocked mutex"),
        (lambda: RWMutex().unlock(), "sync: Unlock of unlocked RWMutex"),
        (lambda: RWMutex().runlock(), "sync: RUnlock of unlocked RWMutex"),
        (lambda: WaitGroup().done(), "sync: negative WaitGroup counter"),
        (lambda: WaitGroup().add(-1), "sync: negative WaitGroup counter"),
        (lambda: (wg := WaitGroup(), wg.add(2**63 - 1), wg.add()), "sync: WaitGroup counter overflow"),
        (lambda: Mutex().__exit__(None, None, None), "sync: unlock of unlocked mutex"),
    ],
)
def test_misuse(misuse: Callable[[], Any], text: str, anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        with pytest.raises(Error, match=f"^{text}$"):
            misuse()

    anywhere(body)


def test_misuse_leaves_things_usable() -> None:
    mu, rw, wg = Mutex(), RWMutex(), WaitGroup()
    for misuse in (mu.unlock, rw.unlock, rw.runlock):
        with pytest.raises(Error):
            misuse()
    with mu, rw:
        assert not mu.try_lock() and not rw.try_rlock()
    wg.add(1)
    with pytest.raises(Error):
        wg.add(-2)


def test_wrong_arguments() -> None:
    for call in (
        lambda: Mutex(1),  # type: ignore[call-arg]
        lambda: Mutex().lock(1),  # type: ignore[call-arg]
        lambda: WaitGroup().add("x"),  # type: ignore[arg-type]
        lambda: WaitGroup().add(1.5),  # type: ignore[arg-type]
        lambda: WaitGroup().go(None),  # type: ignore[arg-type]
        lambda: WaitGroup().go(),  # type: ignore[call-arg]
        lambda: WaitGroup().wait(1),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError):
            call()


def test_wait_group_go_of_nothing_counts_nothing() -> None:
    wg = WaitGroup()
    with pytest.raises(TypeError):
        wg.go(None)  # type: ignore[arg-type]
    wg.wait()


def test_locks_are_freed() -> None:
    for make in (Mutex, RWMutex, WaitGroup):
        lock = make()
        ref = weakref.ref(lock)
        del lock
        gc.collect()
        assert ref() is None


# -- RWMutex ----------------------------------------------------------------------------------


def test_rwmutex_readers_share_writers_do_not(spawn: Spawn) -> None:
    mu, readers, writers, most = RWMutex(), [0], [0], [0]

    def read() -> None:
        for _ in range(30):
            mu.rlock()
            readers[0] += 1
            most[0] = max(most[0], readers[0])
            assert writers[0] == 0
            gosched()
            readers[0] -= 1
            mu.runlock()

    def write() -> None:
        for _ in range(30):
            with mu:
                writers[0] += 1
                assert (readers[0], writers[0]) == (0, 1)
                gosched()
                writers[0] -= 1

    tasks = [spawn(read if i % 3 else write) for i in range(12)]
    for task in tasks:
        task.join()
    assert most[0] >= 1


def test_rwmutex_two_readers_at_once() -> None:
    mu = RWMutex()
    mu.rlock()
    assert mu.try_rlock()
    assert not mu.try_lock()
    mu.runlock()
    mu.runlock()
    assert mu.try_lock()
    assert not mu.try_rlock() and not mu.try_lock()
    mu.unlock()


def test_rwmutex_waiting_writer_stops_new_readers(spawn: Spawn) -> None:
    mu, log = RWMutex(), []
    mu.rlock()
    writer = spawn(lambda: (mu.lock(), log.append("write"), mu.unlock()))
    wait_until_parked(1, "sync.RWMutex.Lock")
    assert not mu.try_rlock()
    reader = spawn(lambda: (mu.rlock(), log.append("read"), mu.runlock()))
    wait_until_parked(1, "sync.RWMutex.RLock")
    mu.runlock()
    writer.join()
    reader.join()
    assert log == ["write", "read"]


def test_rwmutex_writer_lets_all_waiting_readers_in() -> None:
    mu, gate = RWMutex(), chan()
    mu.lock()
    tasks = [Task("goroutine", lambda: (mu.rlock(), gate.recv(), mu.runlock())) for _ in range(10)]
    wait_until_parked(10, "sync.RWMutex.RLock")
    mu.unlock()
    wait_until_parked(10, "chan receive")
    gate.close()
    for task in tasks:
        task.join()
    assert mu.try_lock()


def test_rlocker() -> None:
    mu = RWMutex()
    locker = mu.rlocker()
    locker.lock()
    assert mu.try_rlock() and not mu.try_lock()
    mu.runlock()
    locker.unlock()
    assert mu.try_lock()


# -- WaitGroup --------------------------------------------------------------------------------


def test_wait_group(anywhere: Callable[..., Any], spawn: Spawn) -> None:
    def body() -> None:
        wg, done = WaitGroup(), []
        wg.wait()
        for n in (1, 5, 50):
            wg.add(n)
            for i in range(n):
                spawn(lambda i=i: (gosched(), done.append(i), wg.done()))
            wg.wait()
            assert len(done) == n
            done.clear()

    anywhere(body)


def test_wait_group_wakes_every_waiter(spawn: Spawn) -> None:
    wg = WaitGroup()
    wg.add(2)
    tasks = [spawn(wg.wait) for _ in range(20)]
    wait_until_parked(20, "sync.WaitGroup.Wait")
    wg.done()
    wg.add(1)
    wg.add(-2)
    for task in tasks:
        task.join()


def test_wait_group_go_passes_arguments() -> None:
    wg, seen = WaitGroup(), []
    for i in range(10):
        wg.go(lambda *args, **kwargs: seen.append((args, kwargs)), i, k=i)
    wg.wait()
    assert sorted(seen, key=lambda item: item[0]) == [((i,), {"k": i}) for i in range(10)]


def test_wait_group_go_counts_down_on_goexit() -> None:
    wg = WaitGroup()
    wg.go(goexit)
    wg.wait()


# -- Cond -------------------------------------------------------------------------------------


def test_cond_signal_wakes_in_order() -> None:
    cond, order = Cond(Mutex()), []

    def waiter(i: int) -> None:
        with cond.l:
            cond.wait()
            order.append(i)

    tasks = []
    for i in range(10):
        tasks.append(Task(("goroutine", "thread")[i % 2], waiter, i))
        wait_until_parked(i + 1, "sync.Cond.Wait")
    for i in range(10):
        with cond.l:
            cond.signal()
        wait_until(lambda i=i: len(order) == i + 1)  # type: ignore[misc]
    for task in tasks:
        task.join()
    assert order == list(range(10))


def test_cond_broadcast_wakes_all_and_only_waiters(spawn: Spawn) -> None:
    cond, ready = Cond(Mutex()), [False]

    def waiter() -> None:
        with cond.l:
            while not ready[0]:
                cond.wait()

    cond.broadcast()
    tasks = [spawn(waiter) for _ in range(20)]
    wait_until_parked(20, "sync.Cond.Wait")
    with cond.l:
        ready[0] = True
        cond.broadcast()
    for task in tasks:
        task.join()


def test_cond_signal_without_waiter_is_lost() -> None:
    cond = Cond(Mutex())
    cond.signal()
    task = Task("goroutine", lambda: (cond.l.lock(), cond.wait(), cond.l.unlock()))
    wait_until_parked(1, "sync.Cond.Wait")
    with cond.l:
        cond.signal()
    task.join()


def test_bounded_buffer_with_cond() -> None:
    """The textbook producer-consumer over one lock and two conditions loses nothing."""
    mu = Mutex()
    not_empty, not_full = Cond(mu), Cond(mu)
    items: list[Any] = []
    got: list[Any] = []

    def produce(n: int) -> None:
        for i in range(100):
            with mu:
                while len(items) >= 3:
                    not_full.wait()
                items.append((n, i))
                not_empty.signal()

    def consume() -> None:
        for _ in range(100):
            with mu:
                while not items:
                    not_empty.wait()
                got.append(items.pop(0))
                not_full.signal()

    tasks = [Task(("goroutine", "thread")[n % 2], produce, n) for n in range(4)]
    tasks += [Task(("goroutine", "thread")[n % 2], consume) for n in range(4)]
    for task in tasks:
        task.join()
    assert sorted(got) == [(n, i) for n in range(4) for i in range(100)]


# -- Sema -------------------------------------------------------------------------------------


def test_sema_counts(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        sema = _core.Sema(2)
        sema.acquire()
        assert sema.try_acquire() and not sema.try_acquire()
        sema.release()
        sema.acquire()
        assert not sema.try_acquire()

    anywhere(body)


def test_sema_bad_input() -> None:
    with pytest.raises(TypeError):
        _core.Sema().acquire("chan receive")  # type: ignore[call-arg]
    for count in (-1, 2**70):
        with pytest.raises((ValueError, OverflowError)):
            _core.Sema(count)
    with pytest.raises(TypeError):
        _core.Sema("x")  # type: ignore[arg-type]


def test_sema_waiters_in_order() -> None:
    sema, order = _core.Sema(), []
    tasks = []
    for i in range(20):
        tasks.append(
            Task(
                ("goroutine", "thread")[i % 2], lambda i=i: (sema.acquire(), order.append(i), sema.release())
            )
        )
        wait_until_parked(i + 1, "semacquire")
    sema.release()
    for task in tasks:
        task.join()
    assert order == list(range(20))


def test_parked_waiters_hold_their_lock() -> None:
    """A lock lives as long as somebody waits in it, whoever else forgets it."""
    sema = _core.Sema()
    task = Task("goroutine", sema.acquire)
    wait_until_parked(1, "semacquire")
    release = sema.release
    del sema
    gc.collect()
    release()
    task.join()


# -- no lost wake-ups -------------------------------------------------------------------------


def test_everything_at_once(spawn: Spawn) -> None:
    """Random users of all kinds of locks: none is lost, and the counters come out right."""
    mu, rw, sema, shared = Mutex(), RWMutex(), _core.Sema(3), [0, 0]

    def user(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(60):
            match rng.randrange(4):
                case 0:
                    with mu:
                        value = shared[0]
                        gosched()
                        shared[0] = value + 1
                case 1:
                    with rw:
                        value = shared[1]
                        gosched()
                        shared[1] = value + 1
                case 2:
                    mu_free = rw.rlocker()
                    mu_free.lock()
                    value = shared[1]
                    gosched()
                    assert shared[1] == value
                    mu_free.unlock()
                case 3:
                    sema.acquire()
                    gosched()
                    sema.release()

    tasks = [spawn(user, seed) for seed in range(20)]
    for task in tasks:
        task.join()
    expected = [0, 0]
    for seed in range(20):
        rng = random.Random(seed)
        for _ in range(60):
            if (kind := rng.randrange(4)) < 2:
                expected[kind] += 1
    assert shared == expected
    assert [sema.try_acquire() for _ in range(4)] == [True, True, True, False]


def test_reference_counts() -> None:
    mu, wg = Mutex(), WaitGroup()

    def counts() -> tuple[int, int]:
        return sys.getrefcount(mu), sys.getrefcount(wg)

    before = counts()
    for _ in range(10):
        with mu:
            tasks = [Task("goroutine", lambda: (mu.lock(), mu.unlock())) for _ in range(3)]
            wait_until_parked(3, "sync.Mutex.Lock")
        for task in tasks:
            task.join()
        wg.go(gosched)
        wg.wait()
    del tasks, task
    gc.collect()
    wait_until(lambda: counts() == before)


def test_locks_of_threads_that_die_waiting_for_nothing() -> None:
    """Short-lived threads contending with goroutines leave the lock free."""
    mu = Mutex()
    for _ in range(30):
        threads = [threading.Thread(target=lambda: mu.__enter__() and mu.unlock()) for _ in range(3)]
        for thread in threads:
            thread.start()
        task = Task("goroutine", lambda: (mu.lock(), gosched(), mu.unlock()))
        for thread in threads:
            thread.join()
        task.join()
    assert mu.try_lock()
