"""The debug modes of the heap: what each does with the faults of C extensions, and that a program without
faults runs as always. Each test is a process of its own."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from harness import environment, isolate, isolated, run_source

SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
SIZES = (1, 8, 9, 16, 100, 512, 1025, 4096, 4097, 8192, 32768, 32769, 100_000, 3_000_000)
WHOLE = tuple(size for size in SIZES if size % 4 == 0)  # the last word is whole
MODES = ("clobberfree=1", "efence=1", "sbrk=1", "clobberfree=1,efence=1,sbrk=1", "clobberfree=1,efence=1")


def c() -> ctypes.PyDLL:
    import gort  # noqa: F401

    lib = ctypes.PyDLL(os.environ["CLIB"])
    for name in ("read_after_free", "write_beyond", "stale_after_resize"):
        getattr(lib, name).argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    for name in ("allocate", "unclobbered", "free_again_later", "addresses_differ"):
        getattr(lib, name).argtypes = [ctypes.c_size_t, ctypes.c_int]
    for name in ("free_twice", "free_inside"):
        getattr(lib, name).argtypes = [ctypes.c_size_t]
    lib.shuffle.argtypes = [ctypes.c_ulong, ctypes.c_int, ctypes.c_int, ctypes.c_size_t]
    return lib


def stats() -> dict[str, Any]:
    from gort import _core

    figures = _core.mem_stats()
    assert figures
    return figures


def more(call: Callable[[], Any], *names: str) -> list[int]:
    """What a call adds to figures, beyond what it adds when it does nothing."""
    before = stats()
    call()
    after = stats()
    return [after[name] - before[name] for name in names]


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


# -- a program without faults -----------------------------------------------------------------


@pytest.mark.parametrize("modes", MODES)
def test_programs_run(modes: str) -> None:
    """Objects of all kinds, goroutines, threads, a fork, a subprocess; the heap is consistent throughout."""
    run_source(
        """
        import json, os, subprocess, sys, threading
        import gort
        from gort import _core
        from gort.sync import WaitGroup

        def work(n):
            data = [{"id": i, "name": str(i), "l": [i] * (i % 50), "b": b"x" * i} for i in range(n)]
            copy = [{**d, "b": len(d["b"])} for d in data]
            assert json.loads(json.dumps(copy)) == copy
            big = bytearray()
            for i in range(20):
                big += bytes([i]) * 5000
            assert all(big[i * 5000] == big[i * 5000 + 4999] == i for i in range(20))
            return n

        wg = WaitGroup()
        for _ in range(5):
            wg.go(work, 100)
        thread = threading.Thread(target=work, args=(100,))
        thread.start()
        wg.wait()
        thread.join()
        _core._check_heap()
        kept = [[i, str(i)] for i in range(1000)]
        gort.runtime.lock_os_thread()
        pid = os.fork()
        work(50)
        assert all(b == str(a) for a, b in kept)
        _core._check_heap()
        if pid == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\\n"
        del kept
        _core._check_heap()
        print(gort.run(work, 10))
        """,
        env={"GODEBUG": modes},
        flags=["-W", "ignore"],
    ).check(stdout="10", stderr="")


@pytest.mark.parametrize("largest", [700, 40_000, 3_000_000])
@pytest.mark.parametrize("mode", MODES[:3])
def test_blocks_do_not_overlap(mode: str, largest: int) -> None:
    isolate(_shuffle, largest, env={"GODEBUG": mode}).check(stderr="")


def _shuffle(largest: int) -> None:
    from gort import _core

    for seed in range(3):
        assert c().shuffle(seed, 1000, 20_000, largest) == 0
        _core._check_heap()


@pytest.mark.parametrize("mode", [*MODES[:3], "allocfreetrace=1"])
def test_zero_bytes_are_a_block(mode: str) -> None:
    isolate(_zero, env={"GODEBUG": mode}).check(stderr=None)


def _zero() -> None:
    import gort  # noqa: F401

    api = ctypes.pythonapi
    api.PyMem_Malloc.restype, api.PyMem_Malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    api.PyMem_Realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    api.PyMem_Realloc.restype = ctypes.c_void_p
    api.PyMem_Free.argtypes = [ctypes.c_void_p]
    one, other = api.PyMem_Malloc(0), api.PyMem_Malloc(0)
    assert one and other and one != other
    one = api.PyMem_Realloc(one, 0)
    assert one and one != other
    one = api.PyMem_Realloc(one, 100)
    api.PyMem_Free(one)
    api.PyMem_Free(other)
    api.PyMem_Free(None)


@pytest.mark.parametrize("mode", MODES[:3])
def test_every_block_is_counted(mode: str) -> None:
    for size in SIZES:
        isolate(_count, size, mode == "sbrk=1", env={"GODEBUG": mode}).check(stderr="")


def _count(size: int, kept: bool) -> None:
    """As without a mode; only sbrk's are never freed."""
    import gc

    from gort import _core

    gc.disable()
    lib = c()
    count = 500 if size < 1_000_000 else 10
    classes = [row[0] for row in stats()["classes"]]
    block = min((row for row in classes if row >= size), default=-(-size // 8192) * 8192)
    names = ("mallocs", "frees", "lookups", "total_alloc", "heap_alloc")
    exact = 0
    for _ in range(10):
        idle, busy = (more(lambda n=n: lib.allocate(size, n), *names) for n in (0, count))  # type: ignore[misc]
        change = [b - a for a, b in zip(idle, busy, strict=True)]
        freed = 0 if kept else count
        exact += change == [count, freed, count, count * block, (count - freed) * block]
    assert exact >= 5, change
    _core._check_heap()


@pytest.mark.parametrize("mode", MODES[:3])
def test_interpreters_with_a_gil_of_their_own(mode: str) -> None:
    if sys.version_info < (3, 12):
        pytest.skip("interpreters share the GIL")
    run_source(
        """
        import threading
        try:
            import _interpreters as interpreters
            create = lambda: interpreters.create("isolated")
        except ImportError:
            import _xxsubinterpreters as interpreters
            create = lambda: interpreters.create(isolated=True)
        import gort
        from gort import _core
        code = "import json; assert json.loads(json.dumps(list(range(20000))))[-1] == 19999"

        def other():
            for n in range(2):
                sub = create()
                assert interpreters.run_string(sub, code) is None
                interpreters.destroy(sub)

        thread = threading.Thread(target=other)
        thread.start()
        while thread.is_alive():
            kept = [(str(i), [i] * (i % 50)) for i in range(1000)]
            assert all(len(b) == int(a) % 50 for a, b in kept)
        thread.join()
        _core._check_heap()
        print("good")
        """,
        env={"GODEBUG": mode},
    ).check(stdout="good", stderr="")


@pytest.mark.parametrize("mode", ["allocfreetrace=1", *MODES[:3]])
def test_modes_need_the_heap(mode: str) -> None:
    name = mode.partition("=")[0]
    why = f"gort: GODEBUG {name}='1' has no effect without gort's heap (GORT_HEAP=0)"
    run = run_source("import gort; print('ran')", env={"GODEBUG": mode, "GORT_HEAP": "0"})
    run.check(stdout="ran", stderr=why)
    run = run_source("import gort; print('ran')", env={"GODEBUG": f"{name}=0"})
    run.check(stdout="ran", stderr="")


@pytest.mark.skipif(SANITIZED, reason="the sanitizer reserves most of the address space")
@pytest.mark.parametrize("what", ["large", "small", "growing"])
@pytest.mark.parametrize("mode", MODES[:3])
def test_exhaustion(mode: str, what: str) -> None:
    isolate(_exhaust, what, mode == "clobberfree=1", env={"GODEBUG": mode}).check(stderr="")


def _exhaust(what: str, again: bool) -> None:
    """MemoryError, and nothing is lost; what was freed can be had again in clobberfree alone."""
    import gc
    import resource

    from gort import _core

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * 4096
    limit, most = used + (512 << 20), resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    kept: list[Any] = [[] for _ in range(1000)]
    data = bytearray(b"x" * 1000)
    count = 0
    reserve = [b"x" * (1 << 20) for _ in range(4)]
    stopped = False
    # In efence and sbrk what is freed does not help: not even this call may need an object.
    relieve = functools.partial(resource.setrlimit, resource.RLIMIT_AS, (limit if again else most, most))
    try:
        while True:
            if what == "large":
                kept[count % 1000].append(bytes([count % 256]) * (3 << 20))
            elif what == "small":
                kept[count % 1000].append((count, str(count)))
            else:
                data += b"x" * (1 << 16)
            count += 1
    except MemoryError:
        relieve()
        stopped = True
    del reserve
    assert stopped and count > 50
    _core._check_heap()
    if what == "large":
        assert all(row[0] == bytes([i % 256]) * (3 << 20) for i, row in enumerate(kept[:count]))
    elif what == "small":
        assert all(text == str(number) for row in kept for number, text in row)
    else:
        assert data.count(b"x") == len(data)
        # CPython 3.15 empties a bytearray that finds no memory to grow
        assert len(data) >= 1000 or (sys.version_info >= (3, 15) and not data)
    del kept, data
    gc.collect()
    _core._check_heap()
    if again:
        blocks = [bytes(1 << 20) for _ in range(200)]
        assert all(len(block) == 1 << 20 for block in blocks)


# -- clobberfree ------------------------------------------------------------------------------


@isolated(env={"GODEBUG": "clobberfree=1"})
def test_freed_blocks_are_clobbered() -> None:
    """All of a block, at once, and for as long as some thousands more are freed."""
    from gort import _core

    for size in WHOLE:
        assert c().unclobbered(size, 0) == 0
        assert c().unclobbered(size, 1000 if size < 10_000 else 3) == 0
    _core._check_heap()


@isolated(env={"GODEBUG": "clobberfree=0"})
def test_freed_blocks_are_not_clobbered_without() -> None:
    assert c().unclobbered(512, 0) > 0


@isolated(env={"GODEBUG": "clobberfree=1"})
def test_a_resize_leaves_the_old_place() -> None:
    for before, after in ((100, 104), (100, 101), (100, 99), (4000, 40), (40_000, 40_001), (40_000, 80_000)):
        assert c().stale_after_resize(before, after) == 1
    from gort import _core

    _core._check_heap()


@isolated(env={"GODEBUG": "clobberfree=1"})
def test_freed_blocks_are_kept_for_a_while_only() -> None:
    """Some MiB wait; they count as freed."""
    before = stats()
    for _ in range(100):
        _blocks = [bytes(100_000) for _ in range(20)]
        _small = [bytes(1000) for _ in range(1000)]
    del _blocks, _small
    after = stats()
    assert after["heap_alloc"] - before["heap_alloc"] < 100_000
    assert after["heap_inuse"] - before["heap_inuse"] < 24 << 20
    assert after["heap_sys"] < 64 << 20


# -- efence -----------------------------------------------------------------------------------

FAULT = r"""fatal error: unexpected signal during runtime execution
[signal SIGSEGV: segmentation violation code=0x{{{{[12]}}}} addr=0x{{{{[0-9a-f]+}}}} pc=0x{{{{[0-9a-f]+}}}}]

goroutine 1 [running]:
isolated.{name}(...)
	...test_memdebug.py:{{{{\d+}}}}
...
"""


@pytest.mark.parametrize("size", SIZES)
def test_reading_what_was_freed_is_fatal(size: int) -> None:
    for at in {0, size // 2, size - 1}:
        isolate(_read_after_free, size, at, env={"GODEBUG": "efence=1"}).check(
            status="SIGSEGV", stderr=FAULT.format(name="_read_after_free")
        )


def _read_after_free(size: int, at: int) -> None:
    c().read_after_free(size, at)
    print("read")


@pytest.mark.parametrize("size", SIZES)
def test_writing_behind_a_block_is_fatal(size: int) -> None:
    """At the first byte behind, or where alignment has put it: 16 bytes, 8 for the smallest."""
    align = 8 if size <= 8 else 16
    slack = -size % align
    isolate(_write_beyond, size, slack, env={"GODEBUG": "efence=1"}).check(
        status="SIGSEGV", stderr=FAULT.format(name="_write_beyond")
    )
    if slack:
        isolate(_write_beyond, size, slack - 1, env={"GODEBUG": "efence=1"}).check(stdout="wrote", stderr="")


def _write_beyond(size: int, beyond: int) -> None:
    c().write_beyond(size, beyond)
    print("wrote")


def test_faults_in_a_goroutine_and_in_a_child() -> None:
    isolate(_in_goroutine, env={"GODEBUG": "efence=1"}).check(
        status="SIGSEGV",
        stdout="child -11",
        stderr="...\ngoroutine 1 [running, locked to thread]:\n...\ngoroutine 2 [running]:\n...\n",
    )


def _in_goroutine() -> None:
    from gort import chan, go, runtime

    runtime.lock_os_thread()
    api = ctypes.pythonapi
    api.PyMem_Malloc.restype, api.PyMem_Malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    api.PyMem_Free.argtypes = [ctypes.c_void_p]
    freed = api.PyMem_Malloc(100)
    api.PyMem_Free(freed)
    pid = os.fork()
    if pid == 0:
        ctypes.string_at(freed, 1)  # freed before the fork
        os._exit(0)
    print("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    go(_read_after_free, 100, 0)
    chan().recv()


@pytest.mark.parametrize(
    "call, text",
    [
        ("free_twice(100)", "a block that was freed is freed or resized again"),
        ("free_twice(3000000)", "a block that was freed is freed or resized again"),
        ("free_again_later(100, 2000)", "a block that was freed long ago is freed or resized again"),
        ("free_inside(100)", "an address that is not the start of a block is freed or resized"),
    ],
)
def test_wrong_frees_are_fatal(call: str, text: str) -> None:
    isolate(_wrong_free, call, env={"GODEBUG": "efence=1"}).check(
        status="SIGABRT", stderr=f"fatal error: heap: {text}\n..."
    )


def _wrong_free(call: str) -> None:
    eval(f"c().{call}")


@isolated(env={"GODEBUG": "efence=1"})
def test_addresses_are_never_used_again() -> None:
    """However many; and memory does not grow with their number."""
    from gort import _core

    for size in (10, 5000, 100_000):
        assert c().addresses_differ(size, 3000)
    before = resident()
    assert c().addresses_differ(100, 200_000)
    assert SANITIZED or resident() - before < 4 << 20  # the sanitizer's own grows with addresses
    _core._check_heap()
    maps = open("/proc/self/maps").read().count("\n")
    assert maps < 1000


@isolated(env={"GODEBUG": "efence=1"})
def test_a_live_object_costs_a_page() -> None:
    import gort  # noqa: F401

    before = resident()
    kept = [bytearray(1) for _ in range(5000)]  # the object, and its byte
    more = resident() - before
    assert 10_000 * 4096 <= more < 10_500 * 4096 * 1.1, more / 4096
    del kept
    assert resident() - before < 4 << 20


def test_the_tests_of_json() -> None:
    """CPython's own, in efence: no fault, and what is resident follows what is alive."""
    pytest.importorskip("test.test_json")
    run_source(
        """
        import io, unittest
        import gort
        from gort import _core, runtime

        names = "decode dump fail float indent pass1 scanstring separators speedups"
        names = [f"test.test_json.test_{name}" for name in names.split()]
        suite = unittest.defaultTestLoader.loadTestsFromNames(names)
        result = unittest.TextTestRunner(io.StringIO()).run(suite)
        print(result.testsRun > 50, result.failures, result.errors)
        _core._check_heap()
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * 4096
        print(resident < runtime.read_mem_stats().heap_objects * 4096 * 1.2 + (64 << 20))
        """,
        env={"GODEBUG": "efence=1"},
        timeout=110,
    ).check(stdout="True [] []\nTrue", stderr=None)


@isolated(
    env={"GODEBUG": "efence=1"},
    stderr="gort: GODEBUG efence=1: the kernel allows no more guard pages (vm.max_map_count); "
    "some blocks have none",
    timeout=200,
)
def test_without_guard_markers() -> None:
    """Each guard takes a mapping then. When there are no more it is said once, and the program goes on."""
    import mmap
    import threading

    from gort import _core

    _core._without_guard_markers()
    with open("/proc/sys/vm/max_map_count") as file:
        count = int(file.read()) // 4
    for _ in range(2):
        kept = [bytearray(1) for _ in range(count)]
        _core._check_heap()
        mapping = mmap.mmap(-1, 4096)  # others get mappings as always
        thread = threading.Thread(target=list)
        thread.start()
        thread.join()
        mapping.close()
        before = resident()
        assert len(kept) == count
        del kept
        assert before - resident() > count * 2 * 4096 * 0.9
        _core._check_heap()


def test_faults_without_guard_markers() -> None:
    for call in ("read_after_free(100, 0)", "write_beyond(4096, 0)"):
        isolate(_without_markers, call, env={"GODEBUG": "efence=1"}).check(status="SIGSEGV", stderr=None)


def _without_markers(call: str) -> None:
    from gort import _core

    _core._without_guard_markers()
    eval(f"c().{call}")


# -- sbrk -------------------------------------------------------------------------------------


@isolated(env={"GODEBUG": "sbrk=1"})
def test_nothing_is_freed_or_collected() -> None:
    import gc

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            died.append(1)

    died: list[int] = []
    before = stats()
    for i in range(20_000):
        Cycle()
        _block = str(i) * 10
    after = stats()
    assert after["frees"] == 0 and not died
    assert after["heap_alloc"] - before["heap_alloc"] > 20_000 * 100
    assert after["heap_alloc"] == after["total_alloc"] <= after["heap_inuse"]
    assert gc.isenabled() and gc.get_threshold()[0] == 0
    gc.collect()  # by hand it finds them as always
    assert len(died) == 20_000


# -- allocfreetrace ---------------------------------------------------------------------------

RECORD = re.compile(
    r"(?:trace(?:alloc|free)\(0x[0-9a-f]+, 0x[0-9a-f]+\)\n"
    r"(?:goroutine \d+ \[running\]|goroutine 0 \[idle\]|thread \d+ \[running\]):\n"
    r"(?:.+\(\.\.\.\)\n\t.+:\d+\n)*(?:created by .+\n\t.+:\d+ \+0x[0-9a-f]+\n)?\n)"
)


def records(text: str) -> list[str]:
    """The records of a trace, which must be nothing else."""
    found = RECORD.findall(text)
    rest = RECORD.sub("", text)
    assert rest == "", rest[:2000]
    return found


def block_of(record: str) -> tuple[str, int, int]:
    what, address, size = re.match(r"(\w+)\((\w+), (\w+)\)", record).groups()  # type: ignore[union-attr]
    return what, int(address, 16), int(size, 16)


@pytest.mark.parametrize("modes", ["", ",clobberfree=1", ",efence=1"])
@pytest.mark.parametrize("runner", ["python", "gort"])
def test_trace(modes: str, runner: str) -> None:
    """What is allocated is freed once, with the same size, and nothing is allocated where something lives."""
    run = run_source(
        """
        import gort
        from gort import chan, go

        def worker(c):
            c.send([bytes(n) for n in range(0, 3000, 100)])

        def growing():
            data = bytearray()
            for i in range(50):
                data += bytes(2000)

        def main():
            c = chan()
            go(worker, c)
            c.recv()
            growing()

        main()
        print("done")
        """,
        env={"GODEBUG": f"allocfreetrace=1{modes}"},
        runner=runner,
    )
    assert run.status == 0 and run.stdout == "done\n", run.stderr[-2000:]
    found = records(run.stderr)
    live: dict[int, int] = {}
    freed = 0
    for record in found:
        what, address, size = block_of(record)
        if what == "tracealloc":
            assert address not in live
            live[address] = size
        elif address in live:
            assert live.pop(address) == size
            freed += 1
    assert freed > 100
    sizes = [block_of(record)[2] for record in found if "__main__.worker" in record]
    assert {1152, 2688, 3072} <= set(sizes)
    mine = next(record for record in found if "__main__.growing" in record)
    assert re.search(
        r"__main__\.growing\(\.\.\.\)\n\t.*prog\.py:\d+\n__main__\.main\(\.\.\.\)\n\t.*prog\.py", mine
    )
    theirs = next(record for record in found if "__main__.worker" in record)
    assert "goroutine 2 [running]:" in theirs and "created by __main__.main in goroutine 1\n" in theirs
    # nothing of Python's start, nor of gort's
    assert "__main__.<module>" in found[0 if runner == "python" else 1]
    assert len(found) < 4000


def test_trace_of_a_collection() -> None:
    run = run_source(
        "import gc, gort\ndef main():\n    gc.collect()\nmain()\n", env={"GODEBUG": "allocfreetrace=1"}
    )
    place = r"\(\.\.\.\)\n\t.*prog\.py:\d+\n"
    goroutine = rf"goroutine 1 \[running\]:\n__main__\.main{place}__main__\.<module>{place}"
    assert re.search(rf"^tracegc\(\)\n\n{goroutine}end tracegc\n\n", run.stderr, re.MULTILINE)


def test_trace_in_a_thread() -> None:
    run = run_source(
        """
        import threading, gort
        def work():
            return bytes(5000)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """,
        env={"GODEBUG": "allocfreetrace=1"},
    )
    assert run.status == 0
    found = records(run.stderr)
    mine = [r for r in found if "__main__.work(...)" in r and block_of(r)[2] == 5376]
    assert [re.sub(r"\d+ \[", "N [", r.splitlines()[1]) for r in mine] == ["thread N [running]:"], mine


def test_trace_leaves_exceptions_alone() -> None:
    """Blocks are allocated and freed while an exception is pending, and by code whose module has no name."""
    run = run_source(
        """
        import gort

        source = "def f(n):\\n    [n] * n\\n    return 1 // n if n else int('x' * 50)\\n"
        code = compile(source, "<made>", "exec")
        many = {n: n for n in "abcdefghijklmnopqrstuvwxyz"}
        for namespace in ({}, many, {"__name__": "made", 1: 2, (3,): 4}):
            exec(code, namespace)
            for n in (0, 1, 2):
                try:
                    print(namespace["f"](n))
                except ValueError as error:
                    print(type(error).__name__, str(error)[-8:])
        """,
        env={"GODEBUG": "allocfreetrace=1"},
    )
    run.check(stdout="ValueError xxxxxxx'\n1\n0\n" * 3)
    found = records(run.stderr)
    assert any("made.f(...)" in record for record in found)
    assert any("?.f(...)" in record for record in found)


def test_trace_at_level_2() -> None:
    """GOTRACEBACK=system adds frames of the runtime, and where frames are."""
    run = run_source(
        "import gort\nx = [bytes(1000)]\n", env={"GODEBUG": "allocfreetrace=1", "GOTRACEBACK": "system"}
    )
    assert run.status == 0
    assert re.search(r"__main__\.<module>\(\.\.\.\)\n\t.*prog\.py:2 \+0x\w+ fp=0x\w+ sp=0x\w+\n", run.stderr)


def test_trace_of_sbrk_is_none() -> None:
    """sbrk is all there is when it is on, as in Go."""
    run = run_source("import gort; x = [object()]", env={"GODEBUG": "allocfreetrace=1,sbrk=1"})
    run.check(stderr="")


def test_trace_of_a_resize() -> None:
    """A resize is a free and an allocation, or nothing if the block stays in its class."""
    run = run_source(
        """
        import ctypes, os
        import gort
        api = ctypes.pythonapi
        api.PyMem_Malloc.restype = api.PyMem_Realloc.restype = ctypes.c_void_p
        api.PyMem_Malloc.argtypes, api.PyMem_Free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
        api.PyMem_Realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        def resize():
            block = api.PyMem_Malloc(18000)
            for size in (18400, 30000, 40000, 90000):
                block = api.PyMem_Realloc(block, size)
            api.PyMem_Free(block)
        resize()
        """,
        env={"GODEBUG": "allocfreetrace=1"},
    )
    assert run.status == 0
    blocks = [block_of(r) for r in records(run.stderr) if "__main__.resize" in r]
    large = [(what, size) for what, _, size in blocks if size > 10_000]
    steps = [18432, 32768, 40960, 90112]
    expected = [("tracealloc", steps[0])]
    for old, new in zip(steps, steps[1:], strict=False):
        expected += [("tracefree", old), ("tracealloc", new)]
    assert large == [*expected, ("tracefree", steps[-1])]


def test_trace_is_whole_writes() -> None:
    """A record is one write, so that two processes' do not mix."""
    source = "import gort\nfor i in range(300):\n    x = [str(i)] * i\n"
    argv = [sys.executable, "-c", source]
    env = environment({"GODEBUG": "allocfreetrace=1"})
    reader, writer = os.pipe()
    both = [subprocess.Popen(argv, stderr=writer, env=env) for _ in range(2)]
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    assert [process.wait() for process in both] == [0, 0]
    assert len(records(text)) > 1000
