"""The end of the program, with goroutines and threads in every state: quiet, with the right status."""

from __future__ import annotations

import atexit
import hashlib
import os
import sys
import threading
import time
import weakref
from typing import Any

import pytest

import gort
from gort import chan, go, select
from gort.runtime import gosched
from gort.sync import Cond, Mutex, WaitGroup
from gort.time import Ticker, after_func, sleep
from harness import clib, execute, isolated, run_source
from helpers import must_recv


@isolated(stdout="end")
def test_10_000_parked_goroutines() -> None:
    ch, mu, wg, cond = chan(), Mutex(), WaitGroup(), Cond(Mutex())
    mu.lock()
    wg.add(1)

    def wait_on_cond() -> None:
        with cond.l:
            cond.wait()

    def generator() -> Any:
        with open(os.devnull) as file:
            yield ch.recv()
            file.read()

    for i in range(10_000):
        match i % 8:
            case 0:
                go(ch.recv)
            case 1:
                go(select, ch, (chan(), 1))
            case 2:
                go(mu.lock)
            case 3:
                go(wg.wait)
            case 4:
                go(wait_on_cond)
            case 5:
                go(sleep, 3600)
            case 6:
                go(lambda: list(generator()))
            case 7:
                go(lambda: [sorted([1, 2], key=lambda _: ch.recv() or 0) for _ in range(3)])
    sleep(0.05)
    print("end")


@isolated(stdout="end")
def test_goroutines_that_never_ran() -> None:
    for _ in range(10_000):
        go(gosched)
    print("end")


@pytest.mark.parametrize("runner", ["python", "gort"])
@pytest.mark.parametrize("state", ["c", "hash", "loop", "yield", "timers", "allocate", "start", "print"])
def test_busy_at_the_end(runner: str, state: str) -> None:
    run_source(
        """
        import hashlib, os, sys, time
        import gort, gort.runtime, gort.time

        def in_c(): time.sleep(3600)
        def hashing():
            while True: hashlib.sha256(bytes(1 << 20)).digest()
        def loop():
            while True: pass
        def yielding():
            while True: gort.runtime.gosched()
        def allocate():
            while True: [object() for _ in range(100)]
        def start():
            while True:
                gort.go(abs, 1)
                gort.runtime.gosched()
        def ticking():
            for _ in gort.time.tick(0.0001): pass
        null = open(os.devnull, "w")
        def printing():
            while True: print("x", file=null)

        fn = {"c": in_c, "hash": hashing, "loop": loop, "yield": yielding, "timers": ticking,
              "allocate": allocate, "start": start, "print": printing}[sys.argv[1]]
        for _ in range(5):
            gort.go(fn)
        gort.time.sleep(0.05)
        print("end")
        """,
        state,
        runner=runner,
    ).check(stdout="end", stderr="")


@isolated(stdout="atexit 10\nfirst atexit")
def test_atexit_uses_the_runtime() -> None:
    def use() -> None:
        ch, wg, total = chan(), WaitGroup(), [0]
        for i in range(5):
            wg.go(ch.send, i)
        for _ in range(5):
            total[0] += must_recv(ch)
        wg.wait()
        sleep(0.001)
        time.sleep(0.001)
        fired = chan()
        after_func(0.001, fired.close)
        fired.recv()
        print("atexit", total[0])

    atexit.register(print, "first atexit")
    atexit.register(use)
    for _ in range(100):
        go(chan().recv)
    gosched()


def test_atexit_registered_before_gort() -> None:
    """Such a handler runs after the runtime has stopped: what does not block still works, nothing hangs."""
    run_source(
        """
        import atexit

        def late():
            ch.send(1)
            print("late", ch.recv(), len(ch))

        atexit.register(late)
        import gort
        ch = gort.chan(1)
        gort.go(gort.chan().recv)
        """
    ).check(stdout="late 1 0", stderr="")


def test_blocking_after_the_end_does_not_hang() -> None:
    outcome = run_source(
        """
        import atexit
        atexit.register(lambda: ch.recv())
        import gort
        ch = gort.chan()
        """
    )
    assert not outcome.hung
    assert outcome.stderr, "what cannot work must say so"


@isolated(stdout="end")
def test_daemon_threads() -> None:
    ch, mu = chan(), Mutex()
    mu.lock()

    def talk() -> None:
        while True:
            select(ch, (ch, 1))

    for target in (ch.recv, mu.lock, talk, talk, lambda: time.sleep(3600), lambda: sleep(3600), loop):
        threading.Thread(target=target, daemon=True).start()
    sleep(0.05)
    print("end")


def loop() -> None:
    while True:
        pass


@isolated(stdout="end\nthread ends")
def test_thread_that_is_waited_for() -> None:
    ch = chan()

    def thread() -> None:
        for _ in range(50):
            ch.recv()
        sleep(0.01)
        print("thread ends")

    def feed() -> None:
        while True:
            ch.send(1)

    threading.Thread(target=thread).start()
    go(feed)
    print("end")


@isolated(stdout="end\ndel 1\n")
def test_destructors_use_channels() -> None:
    class Noisy:
        def __init__(self) -> None:
            self.ch = chan(1)

        def __del__(self) -> None:
            self.ch.send(1)
            print("del", self.ch.recv())

    sys.modules["__main__"].noisy = Noisy()  # type: ignore[attr-defined]
    print("end")


@isolated(stdout="end\nfinalizer")
def test_weakref_finalizers() -> None:
    class Thing:
        pass

    thing = Thing()
    sys.modules["__main__"].thing = thing  # type: ignore[attr-defined]
    ch = chan(1)

    def finalizer() -> None:
        go(ch.send, 1)
        ch.recv()
        print("finalizer")

    weakref.finalize(thing, finalizer)
    print("end")


@isolated(status=5)
def test_exit_in_run_in_run() -> None:
    gort.run(gort.run, gort.run, sys.exit, 5)  # type: ignore[arg-type]


@isolated(status=9)
def test_os_exit_in_a_goroutine() -> None:
    go(os._exit, 9)
    chan().recv()


@isolated(
    status="SIGABRT",
    stderr="fatal error: unexpected signal during runtime execution\n[signal SIGABRT: ...]\n...",
)
def test_abort_in_a_goroutine() -> None:
    go(os.abort)
    chan().recv()


@isolated(stdout="end")
def test_tickers_and_timers_pending() -> None:
    for _ in range(1000):
        after_func(0.01, lambda: None)
        Ticker(0.005)
    sleep(0.02)
    print("end")


@isolated(stdout="end")
def test_goroutines_inside_with_and_try_at_the_end() -> None:
    """Abandoned goroutines' finally blocks do not run, not even as objects are torn down."""

    class Loud:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *exc: object) -> None:
            os.write(1, b"must not be printed\n")

    def body() -> None:
        with Loud():
            try:
                chan().recv()
            finally:
                os.write(1, b"must not be printed\n")

    for _ in range(100):
        go(body)
    gosched()
    print("end")


@pytest.mark.parametrize("flags", [("-X", "dev"), ("-W", "error"), ("-O",), ("-I",), ("-X", "faulthandler")])
def test_interpreter_options(flags: tuple[str, ...]) -> None:
    run_source(
        """
        import gort, gort.sync, gort.time
        wg = gort.sync.WaitGroup()
        for _ in range(200):
            wg.go(gort.time.sleep, 0.001)
        wg.wait()
        gort.go(gort.chan().recv)
        gort.time.sleep(0)
        print("end")
        """,
        flags=flags,
    ).check(stdout="end", stderr="")


@pytest.mark.parametrize("allocator", ["debug", "malloc_debug", "pymalloc_debug", "malloc"])
def test_allocators(allocator: str) -> None:
    """CPython's debugging allocators see no block freed twice, overrun or used after it was freed."""
    run_source(
        """
        import gc, gort, gort.sync, gort.time
        from gort.runtime import gosched
        ch, wg = gort.chan(3), gort.sync.WaitGroup()
        def fail():
            try:
                raise ValueError("x")
            except ValueError:
                gosched()
        for i in range(300):
            wg.go(ch.send, [i])
            wg.go(ch.recv)
            wg.go(fail)
            wg.go(gort.time.sleep, 0.0001)
        wg.wait()
        gc.collect()
        for _ in range(100):
            gort.go(gort.chan().recv)
        gort.time.sleep(0.001)
        print("end")
        """,
        env={"PYTHONMALLOC": allocator},
    ).check(stdout="end", stderr="")


@isolated(stdout="end")
def test_standard_streams_closed() -> None:
    os.write(1, b"end\n")
    for stream in (sys.stdout, sys.stderr):
        stream.close()
    go(chan().recv)
    gosched()


@isolated(stdout="end", status="SIGTERM")
def test_killed_while_goroutines_work() -> None:
    import signal

    for _ in range(3):
        go(loop)
    go(lambda: [hashlib.sha256(bytes(1 << 20)) for _ in range(10**6)])
    print("end", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    chan().recv()


def test_program_that_only_imports_gort() -> None:
    run_source("import gort").check(stdout="", stderr="")


def test_runtime_in_an_interactive_session() -> None:
    """Statements from standard input: goroutines run on between them."""
    program = "import gort\nch = gort.chan()\ngort.go(ch.send, 5)\nch.recv()\n1 + 1\n"
    outcome = execute([sys.executable, "-i", "-q"], stdin=program)
    assert (outcome.status, outcome.stdout.split()) == (0, ["5", "2"])


def test_thread_of_the_runtime_begins_while_the_interpreter_ends() -> None:
    """The interpreter has freed the other thread states by then; the debug allocator overwrites them."""
    run_source(
        """
        import time
        from gort import go

        class Slow:
            def __del__(self, sleep=time.sleep):
                sleep(0.2)

        slow = Slow()
        go(time.sleep, 5)
        time.sleep(0.06)
        """,
        env={
            "LD_PRELOAD": f"{os.environ.get('LD_PRELOAD', '')} {clib('late')}".strip(),
            "PYTHONMALLOC": "debug",
        },
    ).check(stderr="")
