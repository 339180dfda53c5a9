"""What differs between the releases of CPython: which of them gort refuses, and what only the newest have."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gort import chan
from gort.sync import WaitGroup
from harness import isolated, run_source
from helpers import wait_until_parked

SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
VERSION = ".".join(map(str, sys.version_info[:3]))
# The words of _PyRuntime.debug_offsets: the cookie, the version, whether it is free-threaded, 3 of the
# runtime, 13 (3.13) or 16 of the interpreter, and those of the thread state, the first of which is its size.
THREAD_STATE = 19 if sys.version_info < (3, 14) else 22
THREADS_HEAD = 9


@pytest.mark.skipif(sys.version_info < (3, 13), reason="CPython describes its structures from 3.13 on")
@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        (
            0,
            "0",
            "gort was compiled for CPython {made}, and this interpreter does not describe its structures",
        ),
        (1, "0x031100f0", "gort was compiled for CPython {made}, and this is 3.17.0"),
        (2, "1", "gort supports builds of CPython with the GIL; this one is free-threaded"),
        (
            THREAD_STATE,
            "words[{word}] + 24",
            "gort was compiled for CPython {made}, and the structures of this {here} differ "
            "(thread_state.size is {now}, not {then}): install gort from source for it",
        ),
        (
            THREADS_HEAD,
            "words[{word}] - 8",
            "gort was compiled for CPython {made}, and the structures of this {here} differ "
            "(interpreter_state.threads_head is {now}, not {then}): install gort from source for it",
        ),
    ],
    ids=["no cookie", "version", "free-threaded", "thread state", "interpreter"],
)
def test_another_interpreter_is_refused(word: int, value: str, said: str) -> None:
    """Before anything of it is touched: the program goes on without gort."""
    run = run_source(
        f"""
        import ctypes

        runtime = ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime")
        words = (ctypes.c_uint64 * 64).from_address(ctypes.addressof(runtime))
        then = words[{word}]
        words[{word}] = {value.format(word=word)}
        now = words[{word}]
        for _ in range(2):
            try:
                import gort
            except ImportError as error:
                print(error)
        words[{word}] = then
        print(then, now, sum(range(10)))
        """
    )
    said_twice, last = run.stdout.rsplit("\n", 2)[0:2] if run.stdout.count("\n") > 2 else ("", run.stdout)
    then, now, total = last.split()
    found = said_twice.splitlines()
    # a wheel may have been compiled with another bug-fix release's headers
    made = found[0].split("compiled for CPython ")[-1].split(",")[0]
    assert found == [said.format(made=made, here=VERSION, now=now, then=then)] * 2
    assert run.status == 0 and run.stderr == "" and total == "45"


@pytest.mark.skipif(sys.version_info[:2] != (3, 14), reason="of 3.14 only")
def test_the_first_releases_of_314_are_refused() -> None:
    run_source(
        """
        import ctypes

        runtime = ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime")
        (ctypes.c_uint64 * 64).from_address(ctypes.addressof(runtime))[1] = 0x030E02F0
        try:
            import gort
        except ImportError as error:
            print(error)
        """
    ).check(stdout="gort needs CPython 3.14.5 or later: 3.14.2 has another garbage collector")


# -- memory --------------------------------------------------------------------------------------


@pytest.mark.skipif(SANITIZED, reason="the sanitizer's own memory would be counted")
@isolated()
def test_a_parked_goroutine_keeps_no_chunk() -> None:
    """From 3.13.1x on a thread state keeps a data-stack chunk of 16 KiB that it has popped."""

    def resident() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) << 10

    def deep(n: int) -> None:
        if n:
            deep(n - 1)

    def body() -> None:
        deep(60)
        gate.recv()
        deep(60)

    count = 3000
    before = resident()
    for _ in range(2):
        gate, wg = chan(), WaitGroup()
        for _ in range(count):
            wg.go(body)
        wait_until_parked(count, "chan receive")
        assert (resident() - before) / count < 10_000
        gate.close()
        wg.wait()


@pytest.mark.skipif(sys.version_info < (3, 15), reason="the JIT records traces in thread states from 3.15 on")
@pytest.mark.skipif(SANITIZED, reason="the sanitizer's own memory would be counted")
def test_what_the_jit_keeps_goes_back() -> None:
    """320 KiB of each thread state in which a trace was recorded, when its goroutine ends."""
    run = run_source(
        """
        import sys
        from pathlib import Path
        from gort import chan
        from gort.sync import WaitGroup
        from gort._core import goroutines
        from gort.time import sleep

        SOURCE = "def hot(gate):\\n n = 0\\n for i in range(20_000): n += i\\n gate.recv()"

        def mapped():
            return int(Path("/proc/self/status").read_text().split("VmSize:")[1].split()[0]) >> 10

        wg, gate = WaitGroup(), chan()
        for _ in range(300):
            exec(SOURCE, namespace := {})
            wg.go(namespace["hot"], gate)
        sleep(0.1)
        while sum(g.wait_reason == "chan receive" for g in goroutines()) < 300:
            sleep(0.01)
        parked = mapped()
        gate.close()
        wg.wait()
        print(sys._jit.is_enabled(), parked - mapped() > 60)
        """,
        env={"PYTHON_JIT": "1"},
    )
    if run.stdout.startswith("False"):
        pytest.skip("this CPython has no JIT")
    run.check(stdout="True True")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="JITs that matter here are new in CPython 3.14")
@pytest.mark.parametrize("size", ["1 << 16", "448 << 10"])
def test_the_jit_has_room_on_small_stacks(size: str) -> None:
    """3.14's optimizes traces in large frames, which it enters wherever a loop becomes hot."""
    run_source(
        f"""
        import gort
        from gort.runtime import debug

        SOURCE = "def hot():\\n n = 0\\n for i in range(20_000): n += i\\n return n"

        def dive(n):
            exec(SOURCE, namespace := {{}})
            namespace["hot"]()
            if n:
                sorted([0], key=lambda _: dive(n - 1))

        debug.set_max_stack({size})
        for depth in (0, 2, 100_000):
            try:
                gort.run(dive, depth)
                print("through")
            except RecursionError:
                print("too deep")
        """,
        env={"PYTHON_JIT": "1"},
    ).check(stdout="through\nthrough\ntoo deep")


# -- what other processes do to this one ----------------------------------------------------------------


@contextmanager
def program(source: str) -> Iterator[subprocess.Popen[str]]:
    """Runs it; it is ready when it has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)],
        stdout=subprocess.PIPE,
        text=True,
        stdin=subprocess.PIPE,
    )
    try:
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="sys.remote_exec is new in CPython 3.14")
@pytest.mark.parametrize("main", ["ch.recv()", "gort.time.sleep(60)", "spin()"])
def test_remote_exec_wakes_main(main: str, tmp_path: Path) -> None:
    """A script from another process is run by main, parked or not, and main's wait goes on."""
    script = tmp_path / "script.py"
    script.write_text("import gort, threading\nprint('script', gort.runtime.num_goroutine(), flush=True)\n")
    source = f"""
        import gort.runtime, gort.time
        from gort import chan, go

        def spin():
            while True:
                sum(range(1000))

        ch = chan()
        gort.time.after_func(120, lambda: ch.send(1))
        go(gort.time.sleep, 60)
        print("ready", flush=True)
        {main}
        """
    with program(source) as process:
        time.sleep(0.3)
        for _ in range(2):
            try:
                sys.remote_exec(process.pid, str(script))  # type: ignore[attr-defined,unused-ignore]
            except PermissionError:
                pytest.skip("this system lets no process write to another")
            assert process.stdout and process.stdout.readline() == "script 2\n"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="_remote_debugging is new in CPython 3.14")
def test_samplers_read_every_goroutine() -> None:
    """Also beside Ms, dead goroutines, and goroutines of functions in C, which have no frame."""
    remote = pytest.importorskip("_remote_debugging")
    source = """
        import gort.time
        from gort import chan, go, run
        from gort._core import goroutines

        ch = chan()

        def receive(depth):
            if depth:
                receive(depth - 1)
            ch.recv()

        for _ in range(10):
            run(sum, [1, 2])
        for depth in (0, 1, 30, 300):
            go(receive, depth)
        go(ch.recv)
        while sum(g.wait_reason == "chan receive" for g in goroutines()) < 5:
            gort.time.sleep(0.01)
        print("ready", flush=True)
        input()
        """
    with program(source) as process:
        time.sleep(0.3)
        try:
            unwinder = remote.RemoteUnwinder(process.pid, all_threads=True)
        except PermissionError:
            pytest.skip("this system lets no process read another")
        for _ in range(3):
            found = unwinder.get_stack_trace()
            if sys.version_info >= (3, 15):  # by interpreter
                threads = [thread for interpreter in found for thread in interpreter.threads]
            else:
                threads = found
            depths = sorted(
                len(thread.frame_info)
                for thread in threads
                if thread.frame_info and thread.frame_info[0].funcname == "receive"
            )
            assert depths == [1, 2, 31, 301]
            assert ["<module>"] in [[frame.funcname for frame in thread.frame_info] for thread in threads]


# -- the heap dump -------------------------------------------------------------------------------------


def test_references_of_frames_in_a_heap_dump(tmp_path: Path) -> None:
    """From 3.14 on a frame's references have tags, which do not belong to the address."""
    path = tmp_path / "dump"
    run = run_source(
        f"""
        import os
        from gort import chan, go
        from gort.runtime import debug
        import gort.time

        class Thing:
            pass

        def wait(ch, thing, number):
            ch.recv()

        def generate(thing):
            yield

        ch, thing = chan(), Thing()
        go(wait, ch, thing, 7)
        generator = generate(thing)
        next(generator)
        gort.time.sleep(0.01)
        with open({str(path)!r}, "wb") as file:
            debug.write_heap_dump(file.fileno())
        print(id(thing), id(generator))
        """
    )
    assert run.status == 0, run.stderr
    thing, generator = map(int, run.stdout.split())
    from gort import heapdump

    records = list(heapdump.records(path.read_bytes()))
    reference = thing.to_bytes(8, sys.byteorder)
    frames = [one for one in records if isinstance(one, heapdump.Frame) and one.name == "__main__.wait"]
    assert len(frames) == 1 and frames[0].contents.count(reference) == 1
    held = [
        one
        for one in records
        if isinstance(one, heapdump.Object) and one.address <= generator < one.address + len(one.contents)
    ]
    assert len(held) == 1 and held[0].contents.count(reference) == 1
