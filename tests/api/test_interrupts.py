"""A signal's handler may raise anywhere: each operation is done then, or it is not.

`at_each_instruction` sends a signal at the nth instruction of the Python code of an operation, for each n;
what is in C is met by real timers, and by goroutines that send signals at the worst moment.
"""

from __future__ import annotations

import os
import signal
import sys
import time as clock
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import gort
from gort import _core, chan, context, go, run, sync, time
from gort.runtime import gosched
from gort.sync import errgroup
from harness import isolated

GORT = str(Path(gort.__file__).parent) + os.sep


class Interrupt(Exception):
    pass


def handler(*_: Any) -> None:
    raise Interrupt


def at_each_instruction(operation: Callable[[], Any], step: int = 1) -> Iterator[int]:
    """Interrupts the operation at each `step`th instruction of gort; yields its number after each time."""
    signal.signal(signal.SIGUSR1, handler)
    n = 0
    while True:
        left = n

        def trace(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal left
            if not frame.f_code.co_filename.startswith(GORT):
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                left -= 1
                if left == -1:
                    os.kill(os.getpid(), signal.SIGUSR1)
            return trace

        interrupted = False
        try:
            sys._getframe().f_trace_opcodes = True  # 3.12 asks once, here, whether anybody wants them
            sys.settrace(trace)
            operation()
        except Interrupt:
            interrupted = True
        finally:
            sys.settrace(None)
        yield n
        if not interrupted and left >= 0:
            return
        n += step


def settle() -> None:
    for _ in range(20):
        gosched()


@isolated()
def test_cancelling() -> None:
    """A context that has ended says so by its channel, and all below it have ended."""
    made: list[Any] = []

    def make_and_cancel() -> None:
        made.clear()
        ctx, cancel = context.with_cancel(context.background())
        made.append(ctx)
        made.append(context.with_cancel(ctx)[0])
        cancel()

    interruptions = 0
    for interruptions in at_each_instruction(make_and_cancel, 3):  # noqa: B007
        ended = [ctx.err() is not None for ctx in made]
        assert len(set(ended)) <= 1, ended
        for ctx in made:
            assert (gort.select(ctx.done(), gort.default)[0] == 0) == (ctx.err() is not None)
    assert interruptions > 300


@isolated()
def test_groups() -> None:
    """A group whose go() was interrupted has all its places, and waits for what was started only."""
    group = errgroup.Group()
    group.set_limit(2)
    ran: list[int] = []

    def start() -> None:
        group.go(ran.append, 1)
        group.try_go(ran.append, 1)

    interruptions = 0
    for interruptions in at_each_instruction(start):  # noqa: B007
        group.wait()
        gate = chan()
        assert group.try_go(gate.recv) and group.try_go(gate.recv)
        assert not group.try_go(gate.recv)
        gate.close()
        group.wait()
        group.set_limit(2)
    assert interruptions > 20
    assert len(ran) >= 2


@isolated()
def test_once() -> None:
    """However often the first calls are interrupted: f runs once, and is known to have run."""
    for make in (
        lambda f: sync.once_func(f),
        lambda f: sync.once_value(f),
        lambda f: (once := sync.Once(), lambda: once.do(f))[1],
    ):
        calls: list[int] = []
        holder: list[Any] = []

        def call(make: Any = make, calls: Any = calls, holder: Any = holder) -> None:
            calls.clear()
            holder[:] = [make(lambda: calls.append(1))]
            holder[0]()

        for _ in at_each_instruction(call):
            before = len(calls)
            if holder:
                holder[0]()
                assert len(calls) == 1 and before <= 1


@isolated()
def test_pools_and_timers() -> None:
    pool: sync.Pool[list[Any]] = sync.Pool(list)

    def use() -> None:
        pool.put(pool.get() or [])
        timer = time.after_func(3600, print)
        assert timer.stop()
        assert run(lambda: 1) == 1

    for _ in at_each_instruction(use):
        assert pool.get() == []
    settle()


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 14),
    reason="3.14 looks for signals in `with`: threading.Lock stays locked too",
)
@isolated()
def test_blocks() -> None:
    """`with` leaves no lock behind. By a timer: where CPython looks for signals matters."""
    signal.signal(signal.SIGALRM, handler)
    mu, rw = sync.Mutex(), sync.RWMutex()
    for lock, free in ((mu, mu), (rw, rw), (rw.rlocker(), rw)):
        end = clock.monotonic() + 0.5
        while clock.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, 30e-6)
                while True:
                    with lock:
                        pass
            except Interrupt:
                pass
            assert free.try_lock(), lock
            free.unlock()


@pytest.mark.parametrize("use", ["rlock", "lock"])
@isolated()
def test_a_handler_uses_the_rwmutex_that_main_waits_for(use: str) -> None:
    """Main's turn to write is over while the handler runs, which would wait for main otherwise."""
    rw, read = sync.RWMutex(), chan()
    log: list[str] = []

    def reader() -> None:
        with rw.rlocker():
            read.recv()
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.01)
            log.append("reader")

    def use_it(*_: Any) -> None:
        with rw if use == "lock" else rw.rlocker():
            log.append("handler")

    signal.signal(signal.SIGUSR1, use_it)
    go(reader)
    read.send(None)
    with rw:
        log.append("main")
    assert log == (["handler", "reader", "main"] if use == "rlock" else ["reader", "handler", "main"])


class Second(Exception):
    pass


@isolated()
def test_cond_is_left_with_the_lock() -> None:
    """Main is interrupted in wait() while another holds the lock, and again while it waits for the lock."""
    log: list[str] = []

    def first(*_: Any) -> None:
        log.append("first")
        raise Interrupt

    def second(*_: Any) -> None:
        log.append("second")
        raise Second

    signal.signal(signal.SIGUSR1, first)
    signal.signal(signal.SIGUSR2, second)

    def other(held: Any) -> None:
        held.lock()
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
            while len(log) < (1 if number == signal.SIGUSR1 else 2):
                time.sleep(0.001)
        time.sleep(0.01)
        log.append("unlocks")
        held.unlock()

    mu, rw = sync.Mutex(), sync.RWMutex()
    for locker, held in ((mu, mu), (rw, rw), (rw.rlocker(), rw)):
        cond = sync.Cond(locker)
        log.clear()
        cond.l.lock()
        go(other, held)
        try:
            cond.wait()
        except Second as error:
            assert isinstance(error.__context__, Interrupt)
            log.append("left")
        assert log == ["first", "second", "unlocks", "left"]
        assert not held.try_lock()
        cond.l.unlock()
        assert held.try_lock()
        held.unlock()


@isolated()
def test_cond_and_classes_derived_from_rwmutex() -> None:
    """A handler raises while wait() waits for the lock, which is held all the same if lock() is RWMutex's."""

    class Named(sync.RWMutex):
        name = "of the program"

    class Counting(sync.RWMutex):
        locked = unlocked = 0

        def lock(self) -> None:
            self.locked += 1
            super().lock()

        def unlock(self) -> None:
            self.unlocked += 1
            super().unlock()

    class Unlocks(Named):
        unlocked = 0

        def unlock(self) -> None:
            self.unlocked += 1
            super().unlock()

    handled: list[int] = []

    def interrupt(*_: Any) -> None:
        handled.append(1)
        raise Interrupt

    def other() -> None:
        rw.lock()
        cond.signal()
        gosched()
        os.kill(os.getpid(), signal.SIGUSR1)
        while not handled:
            time.sleep(0.001)
        rw.unlock()

    signal.signal(signal.SIGUSR1, interrupt)
    for rw in Named(), Unlocks():
        cond = sync.Cond(rw)
        handled.clear()
        rw.lock()
        go(other)
        try:
            cond.wait()
            raise AssertionError("not interrupted")
        except Interrupt:
            assert not rw.try_rlock()
            rw.unlock()
    assert rw.unlocked == 3  # type: ignore[attr-defined]

    counting, theirs = Counting(), Named()
    theirs.lock()
    of_another = Named()
    of_another.lock = theirs.lock  # type: ignore[method-assign]
    of_another.unlock = theirs.unlock  # type: ignore[method-assign]
    for held, cond in (counting, sync.Cond(counting)), (theirs, sync.Cond(of_another)):
        if held is counting:
            held.lock()
        go(lambda cond=cond: cond.signal())  # type: ignore[misc]
        cond.wait()
        assert not held.try_lock()
        held.unlock()
    assert (counting.locked, counting.unlocked) == (2, 2)
    assert of_another.try_lock()


@isolated()
def test_exceptions_that_cond_keeps_do_not_go_round() -> None:
    """One exception may be raised again and again: it does not become its own context, however far away."""
    mu = sync.Mutex()
    raised: list[Interrupt] = []
    a, b = Interrupt("a"), Interrupt("b")

    def interrupt(*_: Any) -> None:
        raised.append(turns[len(raised)])
        raise raised[-1]

    def chain(exc: BaseException | None) -> list[BaseException]:
        found: list[BaseException] = []
        while exc:
            assert exc not in found
            found.append(exc)
            exc = exc.__context__
        return found

    def other(signals: int) -> None:
        mu.lock()
        for n in range(signals):
            os.kill(os.getpid(), signal.SIGUSR1)
            while len(raised) <= n:
                time.sleep(0.001)
        time.sleep(0.01)
        mu.unlock()

    class Fails:
        def lock(self) -> None:
            raise raised[-1]

        def unlock(self) -> None:
            mu.unlock()

    signal.signal(signal.SIGUSR1, interrupt)
    for locker, turns, kept in (mu, [a, b, a], [a, b]), (mu, [b, a, a], [a, b]), (Fails(), [a], [a]):
        a.__context__ = b.__context__ = None
        raised.clear()
        mu.lock()
        go(other, len(turns))
        try:
            sync.Cond(locker).wait()
        except Interrupt as error:
            assert chain(error) == kept
        assert raised == turns
        if locker is mu:
            mu.unlock()


@isolated()
def test_cond_hands_on_the_signal_of_a_waiter_that_was_interrupted() -> None:
    mu = sync.Mutex()
    cond = sync.Cond(mu)
    woken: list[int] = []

    def waiter() -> None:
        with mu:
            cond.wait()
            woken.append(1)

    def signals_and_raises(*_: Any) -> None:
        cond.signal()  # for main, which has waited longest and does not take it
        raise Interrupt

    def interrupt() -> None:
        while sum(one.wait_reason == "sync.Cond.Wait" for one in _core.goroutines()) < 2:
            gosched()
        os.kill(os.getpid(), signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, signals_and_raises)
    mu.lock()
    go(waiter)  # which cannot lock before main waits, and is queued behind it
    go(interrupt)
    try:
        cond.wait()
        raise AssertionError("not interrupted")
    except Interrupt:
        mu.unlock()
    while not woken:
        gosched()


@isolated()
def test_interrupted_run_drops_the_outcome() -> None:
    signal.signal(signal.SIGUSR1, handler)
    ended: list[int] = []

    def work() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.01)
        ended.append(1)
        raise ValueError("for nobody")

    try:
        run(work)
        raise AssertionError("not interrupted")
    except Interrupt:
        pass
    while not ended:
        time.sleep(0.001)
    settle()
