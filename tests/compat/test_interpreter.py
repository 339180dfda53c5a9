"""The rest of CPython as its users know it: imports, introspection, memory, subinterpreters, faulthandler."""

from __future__ import annotations

import gc
import importlib
import inspect
import os
import subprocess
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gort
from gort import _core, chan, go
from gort.runtime import gosched, num_goroutine
from gort.sync import WaitGroup
from gort.time import sleep
from harness import isolated, run_source
from helpers import must_recv, wait_until_parked


def test_functions_are_where_they_were() -> None:
    """What gort replaces in functions of os does not take them out of the sets that say what they support."""
    run_source(
        """
        import os

        sets = [getattr(os, name) for name in dir(os) if name.startswith("supports_")]
        sets = [one for one in sets if isinstance(one, set)]
        functions = [list(one) for one in sets]
        import gort

        print(len(sets) >= 4, os.execve in os.supports_fd)
        print(all(set(before) == one and len(before) == len(one) for before, one in zip(functions, sets)))
        """
    ).check(stdout="True True\nTrue")


# -- subinterpreters --------------------------------------------------------------------------


def test_subinterpreters_are_refused() -> None:
    run_source(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        import gort

        code = '''
        try:
            import gort
        except ImportError as error:
            print("ImportError:", bool(str(error)))
        else:
            print("imported")
        '''
        import textwrap
        sub = interpreters.create()
        error = interpreters.run_string(sub, textwrap.dedent(code))
        print(error)
        interpreters.destroy(sub)
        gort.run(print, "main interpreter goes on")
        """
    ).check(stdout="ImportError: True\nNone\nmain interpreter goes on", stderr="")


def test_subinterpreter_before_gort() -> None:
    run_source(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        sub = interpreters.create()
        interpreters.run_string(sub, "try:\\n import gort\\nexcept ImportError:\\n print('ImportError')")
        interpreters.destroy(sub)
        import gort
        print(gort.run(abs, -1))
        """
    ).check(stdout="ImportError\n1", stderr="")


def test_import_in_a_thread_is_refused_or_works() -> None:
    """Imported first in a plain thread, the main thread is still the main goroutine."""
    outcome = run_source(
        """
        import threading
        def load():
            global gort
            import gort
        thread = threading.Thread(target=load)
        thread.start()
        thread.join()
        if "gort" in globals():
            from gort import _core
            ch = gort.chan()
            gort.go(lambda: ch.send(_core.is_main()))
            print(ch.recv(), _core.is_main())
        """
    )
    assert outcome.status == 0 and not outcome.hung
    if outcome.stdout:
        outcome.check(stdout="False True", stderr="")
    else:
        assert "ImportError" in outcome.stderr


def test_main_becomes_a_goroutine_in_its_first_wait() -> None:
    """Nobody gets in between its look at the channel and its park, though a thread waits for the GIL."""
    run_source(
        """
        import threading
        from itertools import chain
        def load():
            global gort
            import gort
        thread = threading.Thread(target=load)
        thread.start()
        thread.join()
        ch = gort.chan()
        def send():
            ch.send(1)
            ch.close()
        gort.go(send)
        print(sum(chain(range(3_000_000), ch)))  # C code from the start of the goroutine's thread to the wait
        """
    ).check(stdout="4499998500001", stderr="")


def test_module_state_survives_reimport() -> None:
    run_source(
        """
        import sys, gort
        from gort import _core
        first = _core.Chan
        for name in [name for name in sys.modules if name.split(".")[0] == "gort"]:
            del sys.modules[name]
        try:
            import gort as again
        except ImportError as error:
            print("ImportError")
        else:
            ch = again.chan()
            again.go(ch.send, 1)
            print(ch.recv())
        """
    ).check(stdout="{{ImportError|1}}", stderr=None)


# -- imports ----------------------------------------------------------------------------------


def write_module(folder: str, name: str, text: str) -> None:
    Path(folder, f"{name}.py").write_text(inspect.cleandoc(text) + "\n")


def import_at_once(modules: list[str], times: int) -> list[Any]:
    wg, got = WaitGroup(), []
    for _ in range(times):
        for name in modules:
            wg.go(lambda name=name: got.append(importlib.import_module(name)))  # type: ignore[misc]
    wg.wait()
    return got


@pytest.mark.parametrize("pause", ["time.sleep(0.02)", "gort.runtime.gosched()", "gort.time.sleep(0.02)"])
def test_import_runs_once(tmp_path: Path, pause: str) -> None:
    """Goroutines that import one module at once get the one finished module, whatever its body does."""
    write_module(
        str(tmp_path),
        "slow",
        f"""
        import time, gort, gort.runtime, gort.time
        print("body")
        {pause}
        finished = True
        """,
    )
    run_source(
        f"""
        import importlib, sys, gort, gort.sync
        sys.path.insert(0, {str(tmp_path)!r})
        wg, got = gort.sync.WaitGroup(), []
        for _ in range(20):
            wg.go(lambda: got.append(importlib.import_module("slow").finished))
        wg.wait()
        print(got == [True] * 20)
        """
    ).check(stdout="body\nTrue", stderr="")


def test_circular_imports_at_once(tmp_path: Path) -> None:
    for name, other in (("ping", "pong"), ("pong", "ping")):
        write_module(
            str(tmp_path),
            name,
            f"""
            import time
            first = 1
            time.sleep(0.01)
            import {other}
            last = 2
            """,
        )
    run_source(
        f"""
        import importlib, sys, gort, gort.sync
        sys.path.insert(0, {str(tmp_path)!r})
        for _ in range(5):
            wg, got = gort.sync.WaitGroup(), []
            for name in ("ping", "pong") * 5:
                wg.go(lambda name=name: got.append(importlib.import_module(name).first))
            wg.wait()
            assert got == [1] * 10
            assert sys.modules["ping"].last == sys.modules["pong"].last == 2
            del sys.modules["ping"], sys.modules["pong"]
        print("ok")
        """
    ).check(stdout="ok", stderr="")


@isolated()
def test_many_imports_from_many_goroutines() -> None:
    names = [
        "csv",
        "wave",
        "imaplib",
        "plistlib",
        "mailbox",
        "tarfile",
        "zipfile",
        "xmlrpc.client",
        "calendar",
    ]
    for name in names:
        sys.modules.pop(name, None)
    got = import_at_once(names, 5)
    assert sorted(module.__name__ for module in got) == sorted(names * 5)


def test_import_starts_goroutines(tmp_path: Path) -> None:
    write_module(
        str(tmp_path),
        "worker",
        """
        import gort
        ch = gort.chan()
        gort.go(lambda: ch.send(6 * 7))
        answer = ch.recv()
        """,
    )
    run_source(
        f"""
        import sys, gort
        sys.path.insert(0, {str(tmp_path)!r})
        gort.run(__import__, "worker")
        import worker
        print(worker.answer)
        """
    ).check(stdout="42", stderr="")


# -- introspection ----------------------------------------------------------------------------


@isolated()
def test_stack_of_a_goroutine() -> None:
    """A goroutine's innermost frames are its own; below its function there are none of its creator."""

    def body() -> None:
        names = [frame.function for frame in inspect.stack()]
        assert names[0] == "body" and "test_stack_of_a_goroutine" not in names
        assert traceback.extract_stack()[-1].name == "body"
        with pytest.raises(ValueError):
            sys._getframe(50)
        gosched()
        frame: Any = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
        assert "test_stack" not in frame.f_code.co_name

    gort.run(body)


@isolated()
def test_current_frames_while_goroutines_are_parked() -> None:
    gate = chan()
    for _ in range(100):
        go(gate.recv)
    sleep(0.001)
    frames = sys._current_frames()
    assert sys._getframe() in frames.values()
    exceptions = sys._current_exceptions()
    assert isinstance(exceptions, dict)
    for frame in frames.values():
        traceback.extract_stack(frame)
    del frame, frames
    gate.close()


@isolated()
def test_frames_of_parked_goroutines_can_be_kept() -> None:
    """A frame object outlives its goroutine with its variables, as any frame outlives its call."""
    gate, wg = chan(), WaitGroup()

    def body(n: int) -> None:
        local = [n]
        gate.recv()
        local.append(-n)

    for n in range(50):
        wg.go(body, n)
    wait_until_parked(50, "chan receive")
    frames = [info.frame for info in _core.goroutines() if info.wait_reason == "chan receive"]
    assert len(frames) == 50
    gate.close()
    wg.wait()
    while num_goroutine() > 1:
        gosched()
    assert sorted(frame.f_locals["local"] for frame in frames if frame) == [[n, -n] for n in range(50)]
    frames.clear()
    gc.collect()


@isolated()
def test_warnings_in_goroutines() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wg = WaitGroup()
        for n in range(20):
            wg.go(warnings.warn, f"warning {n}", stacklevel=n)
        wg.wait()
    assert sorted(str(warning.message) for warning in caught) == sorted(f"warning {n}" for n in range(20))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="dumps show no names before CPython 3.14")
def test_faulthandler_names_goroutines() -> None:
    run_source(
        """
        import faulthandler
        from gort import chan, go
        from gort._core import goroutines
        from gort.time import sleep

        ch = chan()

        def receive():
            ch.recv()

        go(receive)
        go(receive)
        while sum(g.wait_reason == "chan receive" for g in goroutines()) < 2:
            sleep(0.01)
        faulthandler.dump_traceback()
        """
    ).check(
        stderr="""Current thread 0x... [python] (most recent call first):
  File "....py", line 15 in <module>

...
Thread 0x0000000000000003 [goroutine 3] (most recent call first):
  File "....py", line 9 in receive

Thread 0x0000000000000002 [goroutine 2] (most recent call first):
  File "....py", line 9 in receive"""
    )


def test_faulthandler_of_pytest(tmp_path: Path) -> None:
    """A test that takes too long has all threads dumped, goroutines among them, and goes on."""
    Path(tmp_path, "test_it.py").write_text(
        "import time\nfrom gort import chan, go\n\n"
        "def test_it():\n    ch = chan()\n    for _ in range(20):\n        go(ch.recv)\n"
        "    go(lambda: ch.recv())\n    time.sleep(0.5)\n"
    )
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "faulthandler_timeout=0.1"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTEST_ADDOPTS": ""},
    )
    assert run.returncode == 0 and "1 passed" in run.stdout, run.stdout + run.stderr
    assert "in <lambda>" in run.stderr and "in test_it" in run.stderr


@isolated(stderr="...\n  File ...\n...")
def test_faulthandler_dumps_beside_goroutines() -> None:
    import faulthandler

    for _ in range(50):
        go(chan().recv)
    go(time.sleep, 3600)
    sleep(0.01)
    faulthandler.dump_traceback(all_threads=True)
    gort.run(faulthandler.dump_traceback)
    faulthandler.dump_traceback_later(0.01)
    sleep(0.05)
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("flags", [(), ("-X", "faulthandler")])
def test_stack_overflow_with_faulthandler(flags: tuple[str, ...]) -> None:
    run_source(
        """
        import ctypes, os, gort
        gort.go(ctypes.CDLL(os.environ["CLIB"]).burn_all, 0)
        gort.chan().recv()
        """,
        flags=flags,
    ).check(
        status=2,
        stdout="",
        stderr="runtime: goroutine stack exceeds ...-byte limit\n...\nfatal error: stack overflow\n...",
    )


def test_segmentation_fault_with_faulthandler() -> None:
    outcome = run_source(
        """
        import ctypes, gort
        gort.go(ctypes.string_at, 8)
        gort.chan().recv()
        """,
        flags=["-X", "faulthandler"],
    )
    outcome.check(
        status="SIGSEGV",
        stdout="",
        stderr="""\
fatal error: unexpected signal during runtime execution
[signal SIGSEGV: ...]

goroutine 2 [running]:
...
Fatal Python error: Segmentation fault
...""",
    )


# -- memory -----------------------------------------------------------------------------------


class Thing:
    """Something that can be referred to weakly."""


@isolated()
def test_tracebacks_free_what_they_hold() -> None:
    refs = []

    def fail() -> None:
        thing = Thing()
        refs.append(weakref.ref(thing))
        gosched()
        raise ValueError(len(refs))

    def handle() -> None:
        try:
            fail()
        except ValueError:
            gosched()

    wg = WaitGroup()
    for _ in range(50):
        wg.go(handle)
    wg.wait()
    for _ in range(50):
        with pytest.raises(ValueError):
            gort.run(fail)
    while num_goroutine() > 1:
        gosched()
    gc.collect()
    assert [ref() for ref in refs] == [None] * 100


@isolated()
def test_kept_traceback_of_a_finished_goroutine() -> None:
    """An exception that outlives its goroutine can be looked at and raised again."""
    errors = []

    def fail(n: int) -> None:
        local = n * 2
        gosched()
        raise KeyError(local)

    def body(n: int) -> None:
        try:
            fail(n)
        except KeyError as error:
            errors.append(error)

    wg = WaitGroup()
    for n in range(20):
        wg.go(body, n)
    wg.wait()
    while num_goroutine() > 1:
        gosched()
    gc.collect()
    for error in errors:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        assert [frame.f_code.co_name for frame in frames] == ["body", "fail"]
        assert error.args == (frames[1].f_locals["local"],)
        assert "KeyError" in "".join(traceback.format_exception(error))
        with pytest.raises(KeyError):
            raise error


@isolated()
def test_exceptions_across_switches_keep_their_context() -> None:
    wg, good = WaitGroup(), []

    def body(n: int) -> None:
        try:
            try:
                raise ValueError(n)
            except ValueError:
                gosched()
                sleep(0.0001)
                raise KeyError(n)  # noqa: B904 - the implicit context is what is tested
        except KeyError as error:
            gosched()
            assert isinstance(error.__context__, ValueError) and error.__context__.args == (n,)
            good.append(n)

    for n in range(100):
        wg.go(body, n)
    wg.wait()
    assert sorted(good) == list(range(100))


@isolated()
def test_exception_groups() -> None:
    def body(n: int) -> None:
        try:
            raise ExceptionGroup("group", [ValueError(n), KeyError(n)])
        except* ValueError as group:
            gosched()
            assert group.exceptions[0].args == (n,)
        except* KeyError:
            gosched()

    wg = WaitGroup()
    for n in range(50):
        wg.go(body, n)
    wg.wait()


@isolated(timeout=90)
def test_50_000_goroutines() -> None:
    gate, wg, total = chan(), WaitGroup(), [0]

    def body(n: int) -> None:
        value = gate.recv()
        assert value is not None
        total[0] += value + n

    for n in range(50_000):
        wg.go(body, n)
    gosched()
    assert num_goroutine() >= 50_000
    gc.collect()
    for _ in range(50_000):
        gate.send(1)
    wg.wait()
    assert total[0] == 50_000 + sum(range(50_000))
    while num_goroutine() > 1:
        gosched()


def resident() -> int:
    """Bytes of memory that the process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def check_flat(round_: Callable[[int], None], count: int, times: int) -> None:
    """Memory does not grow over so many rounds. A leak shows each time, a new thread costs memory once."""
    grown = []
    for _ in range(4):
        gc.collect()
        before = resident()
        for _ in range(times):
            round_(count)
        gc.collect()
        grown.append(resident() - before)
        if grown[-1] < 8 << 20:
            return
    raise AssertionError(f"{grown} bytes more than before")


@isolated(timeout=180)
def test_memory_is_flat_over_200_000_goroutines() -> None:
    wg = WaitGroup()

    def body(n: int) -> None:
        [n, str(n)]

    def round_(count: int) -> None:
        for n in range(count):
            wg.go(body, n)
        wg.wait()

    # Short rounds: how many of a long one are alive at once depends on the machine.
    for _ in range(100):
        round_(200)
    check_flat(round_, 200, 1000)


@pytest.mark.parametrize("kind", ["exceptions", "channels", "timers", "threads", "c", "locals", "run"])
@isolated(timeout=180)
def test_memory_is_flat(kind: str) -> None:
    local = threading.local()

    def fail() -> None:
        try:
            raise ValueError("x" * 100)
        except ValueError:
            gosched()

    def talk() -> None:
        ch = chan(1)
        go(ch.send, bytes(100))
        ch.recv()

    def store() -> None:
        local.value = bytes(1000)
        gosched()

    bodies = {
        "exceptions": fail,
        "channels": talk,
        "timers": lambda: sleep(1e-6),
        "threads": lambda: None,
        "c": lambda: time.sleep(1e-6),
        "locals": store,
        "run": lambda: gort.run(gort.run, len, "x"),
    }
    body = bodies[kind]

    def round_(count: int) -> None:
        if kind == "threads":
            for _ in range(count // 20):
                ch = chan()
                thread = threading.Thread(target=ch.send, args=(1,))
                thread.start()
                ch.recv()
                thread.join()
            return
        wg = WaitGroup()
        for start in range(0, count, 500):
            for _ in range(start, min(start + 500, count)):
                wg.go(body)
            wg.wait()

    round_(4000)
    check_flat(round_, 4000, 5)


@isolated()
def test_finalizers_may_park_during_collection() -> None:
    count = [0]

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            gosched()
            count[0] += 1

    wg = WaitGroup()

    def body() -> None:
        for _ in range(20):
            Cycle()
            gosched()

    for _ in range(20):
        wg.go(body)
    for _ in range(10):
        gc.collect()
        gosched()
    wg.wait()
    gc.collect()
    assert count[0] == 400


@isolated()
def test_weakref_callbacks_send() -> None:
    ch = chan(100)
    wg, refs = WaitGroup(), []

    def body() -> None:
        thing = Thing()
        refs.append(weakref.ref(thing, lambda ref: ch.send(1)))
        gosched()

    for _ in range(50):
        wg.go(body)
    wg.wait()
    gc.collect()
    assert sum(must_recv(ch) for _ in range(50)) == 50


@isolated()
def test_gc_while_goroutines_allocate_cycles() -> None:
    stop, wg = [False], WaitGroup()

    def allocate() -> None:
        while not stop[0]:
            cycle: list[Any] = [Thing()]
            cycle.append(cycle)
            gosched()

    for _ in range(10):
        wg.go(allocate)
    gc.set_threshold(50)
    for _ in range(100):
        gc.collect()
        gosched()
    stop[0] = True
    wg.wait()
    assert len(gc.get_objects()) > 0
    for thing in gc.get_referrers(Thing):
        assert thing is not None


@isolated()
def test_switch_interval_may_be_changed() -> None:
    for interval in (1e-6, 0.001, 0.5, 0.005):
        sys.setswitchinterval(interval)
        stop, wg = [False], WaitGroup()

        def spin(stop: list[bool] = stop) -> None:
            while not stop[0]:
                pass

        wg.go(spin)
        go(stop.__setitem__, 0, True)
        wg.wait()


@isolated()
def test_hashing_and_compressing_beside_each_other() -> None:
    """C code that releases the interpreter for long, in several goroutines at once, gives right results."""
    import hashlib
    import zlib

    data = [bytes([n]) * 1_000_000 for n in range(20)]
    wg, results = WaitGroup(), {}

    def body(n: int) -> None:
        packed = zlib.compress(data[n], 6)
        gosched()
        results[n] = (hashlib.sha256(data[n]).hexdigest(), zlib.decompress(packed) == data[n])

    for n in range(20):
        wg.go(body, n)
    wg.wait()
    assert results == {n: (hashlib.sha256(data[n]).hexdigest(), True) for n in range(20)}
