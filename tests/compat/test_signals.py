"""Signals and Ctrl-C: they reach the main goroutine, at once, wherever it is and whatever the others do."""

from __future__ import annotations

import os
import select as system_select
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import gort
from gort import _core, chan, go, select
from gort.runtime import gosched
from gort.sync import Cond, Mutex, RWMutex, WaitGroup
from gort.time import Ticker, sleep
from harness import isolated, run_source

INTERRUPT = [(signal.SIGINT, "ready")]


def locked(lock: Any) -> Any:
    lock.lock()
    return lock


def waiting_group() -> WaitGroup:
    wg = WaitGroup()
    wg.add(1)
    return wg


def wait_on_cond() -> None:
    cond = Cond(Mutex())
    with cond.l:
        cond.wait()


PARKED: dict[str, Callable[[], Any]] = {
    "receive": lambda: chan().recv(),
    "send": lambda: chan().send(1),
    "range": lambda: list(chan()),
    "select": lambda: select(chan(), (chan(), 1)),
    "select without cases": lambda: select(),
    "Mutex": lambda: locked(Mutex()).lock(),
    "RWMutex": lambda: locked(RWMutex()).rlock(),
    "WaitGroup": lambda: waiting_group().wait(),
    "Cond": wait_on_cond,
    "Sema": lambda: _core.Sema().acquire(),
    "sleep": lambda: sleep(3600),
    "run": lambda: gort.run(chan().recv),
    "blocking C call": lambda: time.sleep(3600),
    "lock of threading": lambda: locked_of_threading().acquire(),
    "Python loop": lambda: busy(),
    "yielding loop": lambda: yielding(),
}


def locked_of_threading() -> Any:
    lock = threading.Lock()
    lock.acquire()
    return lock


def busy() -> None:
    while True:
        pass


def yielding() -> None:
    while True:
        gosched()


OTHERS: dict[str, Callable[[], None]] = {
    "sleep": lambda: go(sleep, 3600),
    "are busy": lambda: start_three(busy),
    "yield": lambda: start_three(yielding),
    "block in C": lambda: start_three(time.sleep, 3600),
    "talk": lambda: talk(),
}


def start_three(fn: Callable[..., Any], *args: Any) -> None:
    for _ in range(3):
        go(fn, *args)


def talk() -> None:
    ch = chan()

    def send() -> None:
        while True:
            ch.send(1)

    go(send)
    go(lambda: [None for _ in ch])
    go(sleep, 3600)


def interrupted(call: Callable[[], Any]) -> None:
    """Main is interrupted in the call, and can use the runtime afterwards."""
    print("ready", flush=True)
    try:
        call()
    except KeyboardInterrupt:
        print("KeyboardInterrupt in goroutine", _core.goid())
    ch = chan()
    go(ch.send, "goes on")
    print(ch.recv())
    sleep(0.001)


OUTPUT = """
ready
KeyboardInterrupt in goroutine 1
goes on
"""


@pytest.mark.parametrize("where", PARKED)
@isolated(stdout=OUTPUT, send=INTERRUPT)
def test_interrupt_wherever_main_is(where: str) -> None:
    go(sleep, 3600)
    interrupted(PARKED[where])


@pytest.mark.parametrize("where", ["receive", "select", "sleep", "blocking C call", "Python loop"])
@pytest.mark.parametrize("others", OTHERS)
@isolated(stdout=OUTPUT, send=INTERRUPT)
def test_interrupt_whatever_the_others_do(where: str, others: str) -> None:
    OTHERS[others]()
    interrupted(PARKED[where])


@isolated(stdout=OUTPUT, send=INTERRUPT)
def test_interrupt_while_the_main_thread_is_blocked_in_c_by_another_goroutine() -> None:
    """Main is parked; a goroutine that the main thread took up meanwhile sleeps in C there."""
    where = []

    def block() -> None:
        where.append(threading.get_native_id())
        time.sleep(3600)
        print("a signal must not end another goroutine's sleep early")

    def wait() -> None:
        for _ in range(20):
            go(block)
            sleep(0.002)
            if where[-1] == os.getpid():
                break
        chan().recv()

    go(sleep, 3600)
    interrupted(wait)


@isolated(stdout=OUTPUT, send=INTERRUPT)
def test_interrupt_while_the_main_thread_is_busy_with_another_goroutine() -> None:
    def wait() -> None:
        for _ in range(4):
            go(busy)
        chan().recv()

    interrupted(wait)


@isolated(status="SIGINT", stdout="ready\natexit", stderr="...\nKeyboardInterrupt", send=INTERRUPT)
def test_uncaught_interrupt_ends_the_program() -> None:
    import atexit

    atexit.register(print, "atexit")
    go(sleep, 3600)
    print("ready", flush=True)
    chan().recv()


@isolated(stdout="ready\n3 interrupts", send=[(signal.SIGINT, "ready")])
def test_interrupted_again_and_again() -> None:
    count = 0
    go(sleep, 3600)
    print("ready", flush=True)
    while count < 3:
        try:
            if count:
                go(os.kill, os.getpid(), signal.SIGINT)
            chan().recv()
        except KeyboardInterrupt:
            count += 1
    print(count, "interrupts")


@isolated()
def test_interrupted_waits_leave_nothing_behind() -> None:
    """A waiter that a signal took out of its queue neither takes nor loses what comes later."""
    ch, mu, wg, rw, sema = chan(), locked(Mutex()), waiting_group(), locked(RWMutex()), _core.Sema()

    class Woken(Exception):
        pass

    def handler(number: int, frame: Any) -> None:
        raise Woken

    signal.signal(signal.SIGUSR1, handler)

    def interrupt(call: Callable[..., Any], *args: Any) -> None:
        go(lambda: (sleep(0.002), os.kill(os.getpid(), signal.SIGUSR1)))
        with pytest.raises(Woken):
            call(*args)
            sleep(3600)

    for call, args in (
        (ch.recv, ()),
        (ch.send, ("lost",)),
        (select, (ch, (ch, "lost"))),
        (mu.lock, ()),
        (wg.wait, ()),
        (rw.rlock, ()),
        (rw.lock, ()),
        (sema.acquire, ()),
    ):
        interrupt(call, *args)

    assert select(ch, (ch, 1), gort.default) == (2, None, False)
    mu.unlock()
    assert mu.try_lock()
    rw.unlock()
    assert rw.try_rlock()
    rw.runlock()
    assert rw.try_lock()
    wg.done()
    wg.wait()
    sema.release()
    assert sema.try_acquire() and not sema.try_acquire()


@isolated(stdout="ready\nok", send=[(signal.SIGUSR1, "ready")])
def test_handler_runs_in_the_main_goroutine_only() -> None:
    seen = []

    def handler(number: int, frame: Any) -> None:
        seen.append((_core.goid(), threading.current_thread() is threading.main_thread()))

    signal.signal(signal.SIGUSR1, handler)
    for others in OTHERS.values():
        others()
    print("ready", flush=True)
    while not seen:
        sleep(0.001)
    for _ in range(20):
        os.kill(os.getpid(), signal.SIGUSR1)
        sleep(0.001)
    deadline = time.monotonic() + 30
    while len(seen) < 2 and time.monotonic() < deadline:
        sleep(0.001)
    assert set(seen) == {(1, True)} and len(seen) >= 2, seen
    # One may still be on its way to the main thread, which is busy elsewhere; at the end it would kill.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    print("ok")


@isolated(stdout="handled in 1\nreceived")
def test_handler_may_use_the_runtime() -> None:
    """A handler may send, start goroutines and park, while main is parked itself."""
    ch = chan()

    def handler(number: int, frame: Any) -> None:
        done = chan()
        go(done.send, 1)
        done.recv()
        sleep(0.001)
        print("handled in", _core.goid())
        go(ch.send, "received")

    signal.signal(signal.SIGUSR1, handler)
    go(lambda: (sleep(0.01), os.kill(os.getpid(), signal.SIGUSR1)))
    print(ch.recv())


@isolated(stdout="main\nSIGUSR1\nValueError or fine")
def test_signal_signal_is_mains() -> None:
    """signal.signal works in main, also after main was resumed while the main thread was busy elsewhere."""
    done = chan()

    def block() -> None:
        done.send(1)
        time.sleep(0.1)

    for _ in range(10):
        go(block)
        done.recv()
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    seen = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(signal.Signals(number).name))
    print("main")
    os.kill(os.getpid(), signal.SIGUSR1)
    while not seen:
        sleep(0.01)
    print(*seen)

    def elsewhere() -> None:
        try:
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        except ValueError:
            pass

    gort.run(elsewhere)
    print("ValueError or fine")


@isolated(stdout="5 ticks")
def test_setitimer_interrupts_a_parked_main() -> None:
    ticks = []
    done = chan(1)

    def handler(number: int, frame: Any) -> None:
        ticks.append(number)
        if len(ticks) == 5:
            signal.setitimer(signal.ITIMER_REAL, 0)
            done.send(1)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    go(busy)
    done.recv()
    print(len(ticks), "ticks")


@isolated()
def test_set_wakeup_fd() -> None:
    r, w = os.pipe()
    os.set_blocking(w, False)
    signal.set_wakeup_fd(w)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    go(lambda: (sleep(0.005), os.kill(os.getpid(), signal.SIGUSR1)))
    system_select.select([r], [], [])
    assert os.read(r, 10) == bytes([signal.SIGUSR1])
    assert signal.set_wakeup_fd(-1) == w


@isolated(stdout="ready\n3 signals", send=[(signal.SIGHUP, "ready")])
def test_handled_signal_does_not_end_a_receive() -> None:
    """It goes on waiting after the handler has returned."""
    names = []
    signal.signal(signal.SIGHUP, lambda number, frame: names.append(number))
    ch = chan()

    def others() -> None:
        for _ in range(2):
            seen = len(names)
            while len(names) == seen:
                sleep(0.001)
            os.kill(os.getpid(), signal.SIGHUP)
        while len(names) < 3:
            sleep(0.001)
        ch.send("value")

    go(others)
    print("ready", flush=True)
    assert ch.recv() == "value"
    print(len(names), "signals")


@isolated()
def test_sigchld_of_many_children() -> None:
    import subprocess

    seen = []
    signal.signal(signal.SIGCHLD, lambda number, frame: seen.append(number))
    wg = WaitGroup()
    for _ in range(20):
        wg.go(subprocess.run, ["true"], check=True)
    wg.wait()
    deadline = time.monotonic() + 30
    while not seen and time.monotonic() < deadline:
        sleep(0.001)
    assert seen


@isolated(stdout="ready\nticks go on", send=[(signal.SIGUSR1, "ready")])
def test_signals_do_not_disturb_goroutines_in_c() -> None:
    """Blocking calls of other goroutines are restarted, not cut short, by a signal."""
    results = chan()

    def nap() -> None:
        before = time.monotonic()
        time.sleep(0.5)
        results.send(time.monotonic() - before)

    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    for _ in range(4):
        go(nap)
    print("ready", flush=True)
    assert all(results.recv() >= 0.5 for _ in range(4))
    ticker = Ticker(0.001)
    for _ in range(3):
        ticker.c.recv()
    ticker.stop()
    print("ticks go on")


@pytest.mark.parametrize("runner", ["python", "gort"])
def test_interrupt_of_a_program(runner: str) -> None:
    run_source(
        """
        import gort, gort.time
        gort.go(gort.time.sleep, 3600)
        print("ready", flush=True)
        try:
            gort.chan().recv()
        except KeyboardInterrupt:
            print("interrupted")
        """,
        runner=runner,
        send=INTERRUPT,
    ).check(stdout="ready\ninterrupted", stderr="")
