"""What a child of fork finds of those that are lost in it: they wait, were just woken, or end."""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import signal
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import gort
from gort import chan, default, go, select
from gort._core import Sema
from gort.runtime import gosched
from gort.sync import Cond, Mutex, RWMutex, WaitGroup
from gort.time import after, after_func, sleep
from harness import isolated, run_source
from helpers import must_recv

warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads


def in_child(body: Callable[[], Any], fork: Callable[[], int] = os.fork) -> None:
    """Runs body in a forked child, which must end well and soon."""
    pid = fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    end = time.monotonic() + 20
    while True:
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.kill(pid, 6)
            raise AssertionError("the child hangs")
        time.sleep(0.005)
    assert code == 0, os.waitstatus_to_exitcode(code)


def new_threads() -> None:
    """Threads that get the stacks of lost ones, and write all over them."""
    all_there = threading.Barrier(8)  # each needs a stack of its own

    def dirty(n: int) -> int:
        # through C code: a function that Python code calls has no C frame
        return n and min([n], key=lambda n: dirty(n - 1)) + len(str(os.urandom(64)))

    def run() -> None:
        all_there.wait()
        dirty(60)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def settle() -> None:
    for _ in range(8):
        gosched()
    sleep(0.001)


def got(fn: Callable[[], Any]) -> Any:
    """What fn returns in a goroutine of its own."""
    result = chan(1)
    go(lambda: result.send(fn()))
    settle()
    return result


# Each makes something and returns who waits for it, and what the child checks.


def a_receiver() -> tuple[Callable[[], Any], Callable[[], None]]:
    ch = chan()

    def check() -> None:
        assert select((ch, 0), default)[0] == 1
        mine = got(ch.recv)
        ch.send(7)
        assert select(mine, after(5))[1] == 7

    return ch.recv, check


def a_sender() -> tuple[Callable[[], Any], Callable[[], None]]:
    ch = chan()

    def check() -> None:
        assert select(ch, default)[0] == 1
        go(ch.send, 7)
        assert select(ch, after(5))[1] == 7

    return lambda: ch.send(1), check


def a_select() -> tuple[Callable[[], Any], Callable[[], None]]:
    a, b = chan(), chan()

    def check() -> None:
        assert select((a, 0), b, default)[0] == 2
        mine = got(lambda: select(a, b)[1])
        a.send(7)
        assert select(mine, after(5))[1] == 7

    return lambda: select(a, (b, 1)), check


def a_closed_channel() -> tuple[Callable[[], Any], Callable[[], None]]:
    ch = chan()

    def check() -> None:
        ch.close()
        assert ch.recv_ok() == (None, False)

    return ch.recv, check


def a_mutex() -> tuple[Callable[[], Any], Callable[[], None]]:
    mu = Mutex()
    mu.lock()

    def check() -> None:
        mine = got(mu.lock)
        mu.unlock()
        assert select(mine, after(5))[0] == 0
        mu.unlock()
        assert mu.try_lock()

    return mu.lock, check


def a_writer() -> tuple[Callable[[], Any], Callable[[], None]]:
    rw = RWMutex()
    rw.rlock()

    def check() -> None:
        assert rw.try_rlock()  # nobody waits to write any more
        rw.runlock()
        mine = got(rw.lock)
        rw.runlock()
        assert select(mine, after(5))[0] == 0
        rw.unlock()
        assert rw.try_lock()

    return rw.lock, check


def a_second_writer() -> tuple[Callable[[], Any], Callable[[], None]]:
    rw = RWMutex()
    rw.lock()

    def check() -> None:
        mine = got(rw.lock)
        rw.unlock()
        assert select(mine, after(5))[0] == 0
        rw.unlock()
        assert rw.try_lock()

    return rw.lock, check


def a_reader() -> tuple[Callable[[], Any], Callable[[], None]]:
    rw = RWMutex()
    rw.lock()

    def check() -> None:
        mine = got(rw.rlock)
        rw.unlock()
        assert select(mine, after(5))[0] == 0
        rw.runlock()
        assert rw.try_lock()

    return rw.rlock, check


def a_sema() -> tuple[Callable[[], Any], Callable[[], None]]:
    s = Sema()

    def check() -> None:
        s.release()
        assert s.try_acquire()
        assert not s.try_acquire()

    return s.acquire, check


def a_cond() -> tuple[Callable[[], Any], Callable[[], None]]:
    cond = Cond(Mutex())

    def wait() -> None:
        with cond.l:
            cond.wait()

    def check() -> None:
        mine = got(wait)
        with cond.l:
            cond.signal()
        assert select(mine, after(5))[0] == 0

    return wait, check


def a_group() -> tuple[Callable[[], Any], Callable[[], None]]:
    group = WaitGroup()
    group.add(1)

    def check() -> None:
        mine = got(group.wait)
        group.done()
        assert select(mine, after(5))[0] == 0

    return group.wait, check


def a_sleeper() -> tuple[Callable[[], Any], Callable[[], None]]:
    return lambda: sleep(0.05), lambda: sleep(0.06)


WAITS = [value for name, value in list(globals().items()) if name.startswith("a_")]


@pytest.mark.parametrize("place", ["main", "goroutine", "thread"])
@pytest.mark.parametrize("waiter", ["thread", "goroutine", "main of a thread"])
@isolated()
def test_those_who_wait(place: str, waiter: str) -> None:
    checks = []

    def crowd() -> None:
        for make in WAITS:
            wait, check = make()
            checks.append(check)
            for _ in range(2):
                if waiter == "goroutine":
                    go(wait)
                else:
                    threading.Thread(target=wait, daemon=True).start()
        time.sleep(0.05)
        sleep(0.02)

    def body() -> None:
        new_threads()
        for check in checks:
            check()
        gort.run(new_threads)

    def fork() -> None:
        if waiter == "main of a thread":
            body_of_child()
        else:
            crowd()
            in_child(body)

    def body_of_child() -> None:
        """A thread forks and is main in the child, where it waits when a goroutine forks."""

        def child() -> None:
            ch, done = chan(), chan(1)
            go(lambda: (sleep(0.01), in_child(lambda: check(ch)), done.send(1), ch.send(1)))
            assert ch.recv() == 1
            assert done.recv() == 1

        def check(ch: Any) -> None:
            new_threads()
            assert select((ch, 0), default)[0] == 1
            mine = got(ch.recv)
            ch.send(7)
            assert select(mine, after(5))[1] == 7

        in_child(child)

    if place == "main":
        fork()
    elif place == "goroutine":
        gort.run(fork)
    else:
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
    os._exit(0)


@isolated()
def test_who_waits_for_a_buffered_file() -> None:
    """... on a thread's stack, as main of a child, when the goroutine that is inside forks."""
    libc = ctypes.CDLL(None)
    stack = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    low = ctypes.addressof(ctypes.c_char.from_buffer(stack))

    class Raw(io.RawIOBase):
        pid = -1

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if self.pid < 0:
                entered.send(1)
                sleep(0.01)  # main comes to wait
                self.pid = os.fork()
                if self.pid == 0:
                    # the stack is unmapped, or another thread's
                    assert libc.mprotect(ctypes.c_void_p(low), ctypes.c_size_t(top[0] - low), 0) == 0
                    for _ in range(2):
                        wg.go(f.readline)  # they wait for this one
                    sleep(0.01)
            buffer[:2] = b"x\n"
            return 2

    raw, wg, entered, done = Raw(), WaitGroup(), chan(), chan()
    f = io.BufferedReader(raw, 2)
    top: list[int] = []

    def inside() -> None:
        f.readline()
        if raw.pid == 0:
            wg.wait()
            os._exit(f.readline() != b"x\n")
        done.send(os.waitstatus_to_exitcode(os.waitpid(raw.pid, 0)[1]))

    def child() -> None:
        go(inside)
        entered.recv()
        assert f.readline() == b"x\n"
        assert done.recv() == 0

    def deep(n: int) -> int:
        """Leaves room for what the C library has at the top of the stack."""
        return min([n], key=lambda n: deep(n - 1)) if n else in_child(child) or 0

    @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
    def main(_: object) -> None:
        top.append((threading.get_ident() - (16 << 10)) & -mmap.PAGESIZE)
        deep(100)

    attributes, thread = ctypes.create_string_buffer(256), ctypes.c_ulong()
    libc.pthread_attr_init(attributes)
    assert libc.pthread_attr_setstack(attributes, ctypes.c_void_p(low), ctypes.c_size_t(8 << 20)) == 0
    assert libc.pthread_create(ctypes.byref(thread), attributes, main, None) == 0
    libc.pthread_join(thread, None)
    os._exit(0)


@isolated()
def test_handed_over_mutex() -> None:
    sys.setswitchinterval(100)  # who was woken does not run before the fork
    for starving in (False, True):
        mu = Mutex()
        mu.lock()
        for _ in range(2):
            go(mu.lock)
        settle()
        if starving:
            time.sleep(0.01)
            mu.unlock()
            assert mu.try_lock()
            settle()  # the one that was woken waited for too long: the next unlock hands over
        mu.unlock()

        def check(mu: Any = mu) -> None:
            assert mu.try_lock()
            mine = [got(mu.lock) for _ in range(2)]
            mu.unlock()
            assert select(*mine, after(5))[0] < 2
            mu.unlock()
            settle()
            mu.unlock()
            assert mu.try_lock()

        in_child(check)
    os._exit(0)


@isolated()
def test_handed_over_rwmutex() -> None:
    sys.setswitchinterval(100)  # who was woken does not run before the fork

    def usable(rw: Any) -> None:
        assert rw.try_lock()
        readers = [got(rw.rlock) for _ in range(2)]
        writer = got(rw.lock)
        rw.unlock()
        for reader in readers:
            assert select(reader, after(5))[0] == 0
            rw.runlock()
        assert select(writer, after(5))[0] == 0
        rw.unlock()
        assert rw.try_lock()

    def to_readers(rw: Any) -> None:
        rw.lock()
        for _ in range(3):
            go(rw.rlock)
        settle()
        rw.unlock()

    def to_a_writer_behind_readers(rw: Any) -> None:
        rw.rlock()
        go(rw.lock)
        settle()
        rw.runlock()

    def to_the_next_writer(rw: Any) -> None:
        rw.lock()
        for _ in range(2):
            go(rw.lock)
        settle()
        rw.unlock()

    def to_both(rw: Any) -> None:
        rw.lock()
        go(rw.rlock)
        go(rw.lock)
        settle()
        rw.unlock()

    for hand_over in (to_readers, to_a_writer_behind_readers, to_the_next_writer, to_both):
        rw = RWMutex()
        hand_over(rw)
        in_child(lambda rw=rw: usable(rw))  # type: ignore[misc]
    os._exit(0)


@pytest.mark.parametrize("reads", [False, True])
@isolated()
def test_a_writer_that_runs_a_signal_handler(reads: bool) -> None:
    """It waited for readers, and is in no queue when another goroutine forks."""
    rw, gate = RWMutex(), chan()

    def check() -> None:
        if reads:
            assert rw.try_rlock() and not rw.try_lock()
            rw.runlock()
            rw.runlock()
        mine = [got(rw.rlock) for _ in range(2)]
        for reader in mine:
            assert select(reader, after(5))[0] == 0
            rw.runlock()
        assert rw.try_lock()
        rw.unlock()
        mine = [got(rw.lock) for _ in range(2)]
        for _ in mine:
            assert select(*mine, after(5))[0] < 2
            rw.unlock()

    def handler(*_: object) -> None:
        def other() -> None:
            if not reads:
                rw.runlock()
            in_child(check)
            assert not rw.try_rlock() and not rw.try_lock()
            if reads:
                rw.runlock()
            gate.send(1)

        go(other)
        gate.recv()

    signal.signal(signal.SIGALRM, handler)
    rw.rlock()
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    rw.lock()
    rw.unlock()
    assert rw.try_lock()


@isolated()
def test_handed_over_units() -> None:
    sys.setswitchinterval(100)  # who was woken does not run before the fork
    s = Sema()
    for _ in range(3):
        go(s.acquire)
    settle()
    for _ in range(3):
        s.release()

    def check() -> None:
        assert [s.try_acquire() for _ in range(4)] == [True, True, True, False]

    in_child(check)
    os._exit(0)


@isolated()
def test_functions_of_timers_are_let_go_of() -> None:
    """The timers are gone in the child, and what only they referred to goes with them."""

    class Thing:
        def method(self) -> None:
            ran.send(1)

    ran = chan()
    dropped, kept = Thing(), Thing()
    ref = weakref.ref(dropped)
    after_func(3600, dropped.method)
    timers = [after_func(3600, kept.method) for _ in range(2)]
    del dropped

    def check() -> None:
        settle()
        assert ref() is None
        assert [timer.stop() for timer in timers] == [False, False]
        timers[0].reset(3600)
        assert timers[0].stop()
        timers[0].reset(0)
        assert ran.recv() == 1

    in_child(check)
    settle()
    assert ref() is not None
    assert timers[0].stop() and timers[1].stop()
    os._exit(0)


@isolated()
def test_a_lock_that_is_held_stays_held() -> None:
    mu, rw = Mutex(), RWMutex()
    gort.run(lambda: (mu.lock(), rw.rlock()))

    def check() -> None:
        assert not mu.try_lock()
        assert rw.try_rlock() and not rw.try_lock()

    in_child(check)


@pytest.mark.parametrize("place", ["main", "goroutine", "thread"])
@isolated()
def test_destructors_of_the_lost(place: str) -> None:
    """The interpreter runs destructors of their thread-locals in the child, before any hook."""
    local, parent, stop = threading.local(), os.getpid(), chan()
    ran = []

    class Session:
        def __del__(self) -> None:
            if os.getpid() == parent:
                return
            answer = chan()
            go(answer.send, 1)
            after_func(0, lambda: answer.send(2))
            sleep(0)
            ran.append(must_recv(answer) + must_recv(answer))
            gosched()
            local.other = Other()

    class Other:
        pass

    def task() -> None:
        local.session = Session()
        ready.done()
        stop.recv()

    ready = WaitGroup()
    ready.add(40)
    for _ in range(30):
        go(task)
    for _ in range(10):
        threading.Thread(target=task, daemon=True).start()
    for _ in range(100):
        go(int)
    ready.wait()
    sleep(0.02)

    def body() -> None:
        assert ran == [3] * 40, ran
        group = WaitGroup()
        out: list[Any] = []
        for i in range(300):
            group.go(out.append, i)
        group.wait()
        assert len(out) == 300
        new_threads()

    if place == "main":
        in_child(body)
    elif place == "goroutine":
        gort.run(in_child, body)
    else:
        thread = threading.Thread(target=in_child, args=(body,))
        thread.start()
        thread.join()
    os._exit(0)


@pytest.mark.parametrize("first", ["hooks", "gort"])
@pytest.mark.parametrize("place", ["main", "goroutine", "thread"])
def test_hooks_use_goroutines(first: str, place: str) -> None:
    """Registered before gort is imported or after: before the fork, after it, in the child."""
    run_source(
        f"""
        import os, sys, threading, time, warnings
        warnings.simplefilter("ignore")
        if {first == "gort"}:
            import gort
        said = []

        def use(where):
            ch = gort.chan()
            gort.go(ch.send, where)
            gort.time.sleep(0.001)
            assert gort.run(ch.recv) == where
            gort.time.after_func(0.001, lambda: ch.send(1))
            assert ch.recv() == 1
            said.append(where)

        def again():
            use("child")
            if len(said) < 3:
                said.append("fork")
                pid = os.fork()
                if pid == 0:
                    return
                said.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

        os.register_at_fork(before=lambda: use("before"), after_in_parent=lambda: use("parent"),
                            after_in_child=again)
        import gort

        def main():
            gort.run(time.sleep, 0.001)
            pid = os.fork()
            if pid == 0:
                use("end")
                os._exit(said.count("child") < 1 or said[-1] != "end")
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert said == ["before", "parent"], said
            print("ok", flush=True)
            os._exit(0)

        if {place!r} == "main":
            main()
        elif {place!r} == "goroutine":
            gort.run(main)
        else:
            t = threading.Thread(target=main)
            t.start()
            t.join()
        """
    ).check(stdout="ok")


@pytest.mark.parametrize("library", ["PyDLL", "CDLL"])
@pytest.mark.parametrize("place", ["main", "goroutine", "thread"])
@isolated()
def test_fork_by_c_code(library: str, place: str) -> None:
    """No hook is called then, and PyDLL keeps the GIL, CDLL gives it up."""
    fork = getattr(ctypes, library)(None).fork
    gate = chan()
    for _ in range(20):
        go(gate.recv)
    sleep(0.01)
    time.sleep(0.01)

    def body() -> None:
        assert select((gate, 1), default)[0] == 1
        ch = chan()
        go(ch.send, 1)
        assert ch.recv() == 1
        go(lambda: (time.sleep(0.01), ch.send(2)))
        assert ch.recv() == 2
        sleep(0.001)

    def at_rest() -> None:
        time.sleep(
            0.1
        )  # nobody is in the middle of taking a lock of the interpreter's, which nobody would repair
        in_child(body, fork)

    if place == "main":
        at_rest()
    elif place == "goroutine":
        gort.run(at_rest)
    else:
        thread = threading.Thread(target=at_rest)
        thread.start()
        thread.join()
    os._exit(0)


@pytest.mark.skipif(
    not hasattr(threading, "_shutdown_locks_lock"), reason="threading has no such lock from 3.13 on"
)
@isolated()
def test_a_lost_thread_holds_a_lock_of_threadings() -> None:
    """In the child threading makes a Thread object for the goroutine, under that lock."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with threading._shutdown_locks_lock:  # type: ignore[attr-defined]
            held.set()
            done.wait()

    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    assert gort.run(fork) == 7
    done.set()
    thread.join()
