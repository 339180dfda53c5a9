"""runtime.stack, debug.stack, sys._current_frames: who is where, seen from inside."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest

from gort import _core, chan, go, run, runtime
from gort.runtime import debug
from gort.sync import Mutex, WaitGroup
from gort.time import sleep
from harness import clib, compare, isolated, run_source
from helpers import wait_until, wait_until_parked


def here(all: bool = False) -> str:
    return runtime.stack(all)


def line_of(function: object, plus: int) -> int:
    return function.__code__.co_firstlineno + plus  # type: ignore[attr-defined]


def test_own_stack() -> None:
    text = run(here)
    assert text.startswith(f"goroutine {re.findall('[0-9]+', text)[0]} [running]:\n")
    expected = f"""\
goroutine {{{{[0-9]+}}}} [running]:
{__name__}.here(...)
	{__file__}:{line_of(here, 1)}
"""
    assert not compare(expected, text.split("created by")[0])
    assert runtime.Stack is runtime.stack


def test_created_by() -> None:
    texts = chan(1)
    go(lambda: texts.send(here()))
    lines = str(texts.recv()).splitlines()
    assert lines[-2] == f"created by {__name__}.test_created_by in goroutine {_core.goid()}"
    assert re.fullmatch(rf"\t{re.escape(__file__)}:{line_of(test_created_by, 2)} \+0x[0-9a-f]+", lines[-1]), (
        lines[-1]
    )


def test_debug_stack(capfd: pytest.CaptureFixture[str]) -> None:
    first = debug.stack().splitlines()[:2]
    assert first[0].endswith("[running]:") and first[1] == f"{__name__}.test_debug_stack(...)"
    debug.print_stack()
    out, err = capfd.readouterr()
    assert out == "" and err.splitlines()[1] == f"{__name__}.test_debug_stack(...)"
    assert debug.PrintStack is debug.print_stack


@isolated(stdout="5 6 7 8 ok")
def test_all_in_different_states() -> None:
    ch, mu, wg = chan(), Mutex(), WaitGroup()
    mu.lock()
    wg.add(1)

    def park(how: str) -> None:
        if how == "recv":
            ch.recv()
        elif how == "lock":
            mu.lock()
        elif how == "wait":
            wg.wait()
        else:
            sleep(3600)

    for count, how in enumerate(("recv", "lock", "wait", "sleep"), 5):
        for _ in range(count):
            go(park, how)
    wait_until_parked(5, "chan receive")
    wait_until_parked(6, "sync.Mutex.Lock")
    wait_until_parked(7, "sync.WaitGroup.Wait")
    wait_until_parked(8, "sleep")
    text = runtime.stack(all=True)
    assert text.startswith("goroutine 1 [running]:\n"), text
    blocks = text.split("\n\n")
    states = Counter(re.findall(r"^goroutine \d+ \[(.*)\]:$", text, re.M))
    numbers = [int(n) for n in re.findall(r"^goroutine (\d+) ", text, re.M)]
    assert numbers == sorted(numbers) and len(numbers) == len(blocks) == 27
    print(
        states["chan receive"],
        states["sync.Mutex.Lock"],
        states["sync.WaitGroup.Wait"],
        states["sleep"],
        "ok",
    )


@isolated(stdout="5000 ok")
def test_thousands() -> None:
    ch = chan()
    for _ in range(5000):
        go(ch.recv)
    wait_until_parked(5000, "chan receive")
    text = runtime.stack(True)
    print(len(re.findall(r"^goroutine \d+ \[chan receive\]:$", text, re.M)), end=" ")
    ch.close()
    wait_until(lambda: runtime.num_goroutine() == 1)
    assert runtime.stack(True).count("goroutine ") == 1
    print("ok")


@isolated(stdout="ok")
def test_threads_are_shown() -> None:
    ch = chan()

    def wait() -> None:
        ch.recv()

    def block() -> None:
        time.sleep(3600)

    threading.Thread(target=wait, name="waits", daemon=True).start()
    blocked = threading.Thread(target=block, name="b\u00e9", daemon=True)
    blocked.start()
    both = r'"waits" \[chan receive\](.|\n)*\[syscall\]|\[syscall\](.|\n)*"waits" \[chan receive\]'
    wait_until(lambda: re.search(both, runtime.stack(True)) is not None, "both threads wait")
    text = runtime.stack(True)
    assert re.search(r'^thread \d+ "waits" \[chan receive\]:\n.*\.wait\(\.\.\.\)$', text, re.M), text
    assert re.search(
        rf'^thread {blocked.native_id} "b\u00e9" \[syscall\]:\n.*\.block\(\.\.\.\)$', text, re.M
    ), text
    ch.send(1)
    print("ok")


def test_minutes_and_locked() -> None:
    """The monotonic clock is put forward while the goroutines wait."""
    library = clib("clock")
    run_source(
        f"""
        import ctypes
        from gort import chan, go
        from gort.runtime import lock_os_thread, stack
        from gort.time import sleep

        def locked():
            lock_os_thread()
            chan().recv()

        go(chan().recv)
        go(locked)
        while stack(True).count("[chan receive") < 2:
            sleep(0.001)
        print(stack(True).count("[chan receive]:"), stack(True).count("[chan receive, locked to thread]:"))
        ctypes.CDLL({library!r}).advance(30)
        print(stack(True).count("minutes"))
        ctypes.CDLL({library!r}).advance(100)
        print("[chan receive, 2 minutes]:" in stack(True))
        print("[chan receive, 2 minutes, locked to thread]:" in stack(True))
        ctypes.CDLL({library!r}).advance(-130)  # the kernel knows nothing of it, and deadlines are its time
        """,
        env={"LD_PRELOAD": f"{os.environ.get('LD_PRELOAD', '')} {library}".strip()},
    ).check(stdout="1 1\n0\nTrue\nTrue", stderr="")


def test_in_a_plain_thread() -> None:
    results: list[str] = []

    def body() -> None:
        results.extend((runtime.stack(), runtime.stack(True)))

    thread = threading.Thread(target=body, name="plain")
    thread.start()
    thread.join()
    own, everybody = results
    assert re.match(r'thread \d+ "plain" \[running\]:\n.*\.body\(\.\.\.\)\n', own), own
    assert own.count("goroutine ") == 0 and everybody.count(' "plain" ') == 1
    assert re.search(r"^goroutine 1 \[", everybody, re.M)


@isolated(stdout="ok")
def test_current_frames_has_every_goroutine() -> None:
    ch = chan()

    def wait(n: int) -> None:
        ch.recv()

    for n in range(100):
        go(wait, n)
    wait_until_parked(100, "chan receive")
    frames = sys._current_frames()
    waiting = {ident: frame for ident, frame in frames.items() if frame.f_code is wait.__code__}
    assert {frame.f_locals["n"] for frame in waiting.values()} == set(range(100))
    assert set(waiting) == {info.goid for info in _core.goroutines()} - {1}
    main = threading.main_thread().ident
    assert main is not None and frames[main].f_code is sys._getframe().f_code
    print("ok")


@isolated(stdout="caught 0")
def test_an_exception_can_be_sent_to_a_goroutine() -> None:
    """PyThreadState_SetAsyncExc finds a goroutine by its number."""
    numbers, results = chan(1), chan(1)

    def work() -> None:
        numbers.send(_core.goid())
        try:
            while True:
                sleep(0.001)
        except LookupError:
            results.send("caught")

    go(work)
    goid: Any = numbers.recv()
    set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert set_async_exc(ctypes.c_ulong(goid), ctypes.py_object(LookupError)) == 1
    print(results.recv(), set_async_exc(ctypes.c_ulong(10**6), ctypes.py_object(LookupError)))


def test_main_thread_ident_when_main_is_away() -> None:
    """Whatever thread main runs on, its frame is found under main_thread().ident."""
    run_source(
        """
        import sys, threading
        from gort import _core, chan, go
        from gort.time import sleep

        def busy():
            ch.recv()
            while True:
                pass

        ch = chan()
        go(busy)
        while not any(g.wait_reason == "chan receive" for g in _core.goroutines()):
            sleep(0.001)
        ch.close()
        while _core._thread_stats().main_moves == 0:
            sleep(0.05)
        print(sys._current_frames()[threading.main_thread().ident] is sys._getframe())
        """
    ).check(stdout="True\n", stderr="")


def test_surrogates_and_odd_names() -> None:
    space: dict[str, object] = {"here": here, "__name__": "m\udc80\U0001f40d"}
    exec(compile("def f\u00e9(): return here()\ntext = f\u00e9()", "/tmp/\udcff.py", "exec"), space)
    text = str(space["text"])
    assert "\nm\\udc80\U0001f40d.f\u00e9(...)\n\t/tmp/\\udcff.py:1\n" in text


def test_no_descriptor_left_and_no_allocation_needed() -> None:
    """A dump is text that is made without opening anything."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        runtime.stack(True)
    assert len(os.listdir("/proc/self/fd")) == before


@isolated(stdout="ok")
def test_a_dump_asks_nothing_of_thread_classes() -> None:
    asked: list[Any] = []

    class Attribute(threading.Thread):
        def __getattribute__(self, name: str) -> object:
            if dumping:
                asked.append(name)
            return super().__getattribute__(name)

    class Property(threading.Thread):
        @property
        def _name(self) -> str:
            if dumping:
                asked.append("_name")
            return "never shown"

        @_name.setter
        def _name(self, value: str) -> None:
            pass

    class Odd(threading.Thread):
        pass

    dumping = False
    ready = threading.Barrier(5)
    done = threading.Event()

    def wait() -> None:
        ready.wait()
        done.wait()

    threads = [cls(target=wait, name=f"thread-{cls.__name__}", daemon=True)
               for cls in (threading.Thread, Attribute, Property, Odd)]  # fmt: skip
    for t in threads:
        t.start()
    ready.wait()
    threads[3].__dict__["_name"] = 7
    dumping = True
    text = runtime.stack(True)
    dumping = False
    done.set()
    assert not asked, asked
    assert '"thread-Thread" [syscall]' in text and '"thread-Attribute" [syscall]' in text, text
    assert text.count('"') == 4, text  # A name that only Python code could tell is left out.
    assert text.count("\nthread ") == 4, text
    print("ok")


@isolated(stdout="ok", timeout=120)
def test_the_time_of_a_dump_grows_with_the_number_of_threads() -> None:
    """Of Ms, whose scheduler's thread states are not threads, and of threads that wait in gort."""

    def cost() -> float:
        best = 9.0
        for _ in range(5):
            start = time.thread_time()
            runtime.stack(True)
            best = min(best, time.thread_time() - start)
        return best

    def blocked(n: int) -> float:
        for _ in range(n):
            go(lock.acquire)
        wait_until(lambda: len(os.listdir("/proc/self/task")) > n)
        return cost()

    def waiting(n: int) -> float:
        threads = [threading.Thread(target=ch.recv, daemon=True) for _ in range(n)]
        for t in threads:
            t.start()
        wait_until(lambda: runtime.stack(True).count(" [chan receive]:") == n)
        taken = cost()
        for _ in range(n):
            ch.send(None)
        for t in threads:
            t.join()
        return taken

    ch = chan()
    threading.stack_size(64 << 10)
    # 15 times as many; more than 100 times as long if each is looked for among all.
    few, many = waiting(200), waiting(3000)
    assert many < 60 * few, f"waiting in gort: {few * 1e3:.2f} ms, {many * 1e3:.2f} ms"
    lock = threading.Lock()
    lock.acquire()
    few, many = blocked(200), blocked(2800)
    assert many < 60 * few, f"blocked in C: {few * 1e3:.2f} ms, {many * 1e3:.2f} ms"
    print("ok", flush=True)
    os._exit(0)
