"""Package gort.cgo, runtime.num_cgo_call and runtime.set_cgo_traceback."""

from __future__ import annotations

import array
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gort.time
from gort import _core, cgo, chan, go, runtime
from gort.sync import WaitGroup
from harness import clib, isolate, isolated

CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
LINES = "libdw.so.1"
# A machine that stops the process for a while spoils an attempt, but hardly this many in a row.
TRIES = 5


def load(kind: Any = ctypes.CDLL) -> Any:
    return kind(os.environ.get("CLIB") or clib())


def has_libdw() -> bool:
    try:
        ctypes.CDLL(LINES)
    except OSError:
        return False
    return True


def names(text: str) -> list[str]:
    """The functions of a text of frames."""
    return re.findall(r"^(\S+)\(\.\.\.\)$", text, re.MULTILINE)


def places(text: str) -> list[str]:
    return [line.split(" pc=")[0].strip() for line in text.splitlines() if line.startswith("\t")]


# -- calls ------------------------------------------------------------------------------------


def test_call() -> None:
    lib = load()
    assert cgo.call(lib.accepts_any, None) == 0
    assert cgo.call(ctypes.CDLL(None).abs, -3) == 3
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    keyword = prototype(("accepts_any", lib), ((1, "p", None),))
    assert cgo.call(keyword, p=5) == 1
    assert cgo.call(keyword) == 0


@pytest.mark.parametrize("bad", [len, None, 5, "abs", lambda: 1, ctypes.c_int(3)])
def test_call_needs_a_c_function(bad: Any) -> None:
    before = runtime.num_cgo_call()
    with pytest.raises(TypeError) as caught:
        cgo.call(bad, 1)
    assert str(caught.value) == f"call() takes a function of ctypes or cffi, not {bad!r}"
    with pytest.raises(TypeError):
        cgo.call()  # type: ignore[call-arg]
    assert runtime.num_cgo_call() == before


def test_errors_of_ctypes_pass() -> None:
    with pytest.raises(ctypes.ArgumentError):
        cgo.call(load().accepts_any, object())


def test_wrap_a_library() -> None:
    original = load()
    lib = cgo.wrap(original)
    lib.nested_inner.argtypes = [CALLBACK, ctypes.c_int]
    assert original.nested_inner.argtypes == [CALLBACK, ctypes.c_int]
    lib.accepts_any.restype = ctypes.c_bool
    before = runtime.num_cgo_call()
    assert lib.accepts_any(7) is True
    assert lib["accepts_any"](0) == 0
    assert runtime.num_cgo_call() == before + 2
    assert lib.accepts_any is lib.accepts_any
    assert lib._name == original._name
    assert "accepts_any" in repr(lib.accepts_any) or "_FuncPtr" in repr(lib.accepts_any)
    assert repr(lib) == f"<gort.cgo library of {original!r}>"
    with pytest.raises(AttributeError):
        lib.no_such_function  # noqa: B018


def test_wrap_a_function() -> None:
    absolute = cgo.wrap(ctypes.CDLL(None).abs)
    before = runtime.num_cgo_call()
    assert absolute(-8) == 8
    assert runtime.num_cgo_call() == before + 1
    with pytest.raises(AttributeError):
        absolute.no_such_attribute  # noqa: B018


def test_num_cgo_call_counts_exactly() -> None:
    lib, wg = cgo.wrap(load()), WaitGroup()
    before = runtime.num_cgo_call()
    assert runtime.NumCgoCall is runtime.num_cgo_call

    def body() -> None:
        for _ in range(500):
            lib.accepts_any(None)

    for _ in range(8):
        wg.go(body)
    threads = [threading.Thread(target=body) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wg.wait()
    load().accepts_any(None)  # not made through cgo
    assert runtime.num_cgo_call() == before + 10 * 500


# -- the scheduler ------------------------------------------------------------------------------


def handoffs_of(fn: Callable[..., Any], *args: Any) -> int:
    """How often a P is handed over while fn is called and a goroutine waits for its turn."""
    go(lambda: None)
    before = _core._thread_stats().handoffs
    fn(*args)
    return _core._thread_stats().handoffs - before


@isolated(env={"GOMAXPROCS": "1"})
def test_others_run_at_once() -> None:
    """The call returns once another goroutine has run."""
    receiver, sender = os.pipe()
    buffer = ctypes.create_string_buffer(1)
    go(os.write, sender, b"x")
    assert cgo.wrap(ctypes.CDLL(None)).read(receiver, buffer, 1) == 1


@isolated(env={"GOMAXPROCS": "1"})
def test_many_calls_overlap() -> None:
    lib, wg = cgo.wrap(load()), WaitGroup()

    def elapsed() -> float:
        start = time.monotonic()
        for _ in range(10):
            wg.go(lib.sleep_us, 100_000)
        wg.wait()
        return time.monotonic() - start

    assert any(elapsed() < 0.95 for _ in range(TRIES))  # one after the other they take 1 s


@isolated(env={"GOMAXPROCS": "1"})
def test_the_p_is_given_away_before_the_c_code_runs() -> None:
    """sysmon takes a P after 20 us at the soonest, and then only its M has to get the GIL."""
    seen = [0]

    @CALLBACK
    def look(n: int) -> int:
        seen[0] = _core._thread_stats().handoffs
        return n

    def handoffs(lib: Any) -> int:
        go(lambda: None)
        before = _core._thread_stats().handoffs
        cgo.call(lib.call, look, 1)
        runtime.gosched()
        return seen[0] - before

    # A function of its own for each try: none is known to be quick.
    assert any(handoffs(lib) == 1 for lib in [load() for _ in range(TRIES)])


@isolated(env={"GOMAXPROCS": "1"})
def test_nobody_waits_nobody_is_woken() -> None:
    lib = load()
    go(lambda: None)
    runtime.gosched()
    gort.time.sleep(0.01)
    before = _core._thread_stats()
    for _ in range(100):
        cgo.call(lib.accepts_any, None)
    after = _core._thread_stats()
    assert (after.handoffs, after.created) == (before.handoffs, before.created)


@isolated(env={"GOMAXPROCS": "1"})
def test_functions_that_are_known_to_be_quick_keep_the_p() -> None:
    lib = load()
    quick, slow = lib.accepts_any, lib.sleep_us
    for _ in range(10):
        cgo.call(quick, None)
        cgo.call(slow, 50)
    best = 99
    for _ in range(20):  # a machine that stops the process for a while makes it look slow
        for _ in range(5):
            cgo.call(quick, None)
        go(lambda: None)
        before = _core._thread_stats().handoffs
        for _ in range(10):
            cgo.call(quick, None)
        best = min(best, _core._thread_stats().handoffs - before)
        gort.time.sleep(0.001)
    assert best == 0
    assert any(handoffs_of(cgo.call, slow, 50) == 1 for _ in range(TRIES))


@isolated(env={"GOMAXPROCS": "1"})
def test_a_quick_function_that_blocks_is_quick_no_more() -> None:
    lib, seen = load(), []

    @CALLBACK
    def look(milliseconds: int) -> int:
        seen.append(_core._thread_stats().handoffs - before)
        if milliseconds:
            time.sleep(milliseconds / 1000)
        return 0

    before = 0

    def attempt() -> list[int]:
        nonlocal before
        for _ in range(100):
            cgo.call(lib.call, look, 0)
        for milliseconds in (0, 50, 0):
            go(lambda: None)
            before = _core._thread_stats().handoffs
            cgo.call(lib.call, look, milliseconds)  # while it sleeps sysmon takes the P
        return seen[-3:]

    assert any(attempt() == [0, 0, 1] for _ in range(TRIES))


@isolated(env={"GOMAXPROCS": "1"})
def test_a_library_that_keeps_the_gil_keeps_the_p() -> None:
    def handoffs(lib: Any) -> int:
        count = handoffs_of(cgo.call, lib.accepts_any, None)
        runtime.gosched()
        return count

    # A function of its own for each try: none is known to be quick.
    assert any(handoffs(lib) == 0 for lib in [load(ctypes.PyDLL) for _ in range(TRIES)])


@isolated(env={"GOMAXPROCS": "1"})
def test_back_from_c_it_takes_an_idle_p() -> None:
    lib, ask = cgo.wrap(load()), threading.Event()
    statuses: list[Any] = []

    def look() -> None:
        ask.wait()
        # A goroutine that runs without a P is listed as in a system call.
        statuses.extend(info.status for info in _core.goroutines() if info.goid == 1)

    thread = threading.Thread(target=look)
    thread.start()
    assert any(handoffs_of(lib.sleep_us, 50_000) == 1 for _ in range(TRIES))
    ask.set()
    thread.join()
    assert statuses == ["running"]


@isolated()
def test_locked_to_a_thread() -> None:
    lib, wg = cgo.wrap(load()), WaitGroup()

    def body() -> None:
        runtime.lock_os_thread()
        before = threading.get_native_id()
        for _ in range(20):
            lib.sleep_us(100)
            runtime.gosched()
            assert threading.get_native_id() == before

    for _ in range(8):
        wg.go(body)
    wg.wait()


@isolated()
def test_timers_fire_during_a_call() -> None:
    lib, ticks = cgo.wrap(load()), []
    go(lambda: None)  # sysmon begins with the first goroutine
    runtime.gosched()
    start = time.monotonic()
    gort.time.after_func(0.01, lambda: ticks.append(time.monotonic()))
    lib.sleep_us(900_000)
    assert ticks and 0.01 <= ticks[0] - start < 0.9


# -- callbacks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["CDLL", "PyDLL"])
@isolated()
def test_callbacks_park(kind: str) -> None:
    lib, gate, wg, results = cgo.wrap(load(getattr(ctypes, kind))), chan(), WaitGroup(), []

    @cgo.callback(CALLBACK)
    def park(n: int) -> int:
        """Parks."""
        runtime.gosched()
        gort.time.sleep(0.0005)
        gate.recv()
        return n * 2

    for n in range(100):
        wg.go(lambda n=n: results.append(lib.call(park, n)))  # type: ignore[misc]
    gort.time.sleep(0.005)
    gate.close()
    wg.wait()
    assert sorted(results) == [n * 2 for n in range(100)]


@isolated()
def test_goroutines_in_nested_callbacks() -> None:
    lib, wg, results = cgo.wrap(load()), WaitGroup(), []

    @cgo.callback(CALLBACK)
    def down(n: int) -> int:
        runtime.gosched()
        return 0 if n == 0 else 1 + int(lib.call(down, n - 1))

    for _ in range(8):
        wg.go(lambda: results.append(lib.call(down, 20)))
    wg.wait()
    assert results == [20] * 8
    assert runtime.num_cgo_call() == 8 * 21


@isolated()
def test_callbacks_on_threads_that_python_does_not_know() -> None:
    lib, ch = cgo.wrap(load()), chan(100)

    @cgo.callback(CALLBACK)
    def send(n: int) -> int:
        ch.send(n)
        return n

    assert lib.call_on_thread(send, 1, 10) == sum(range(1, 11))
    assert sorted(ch.recv() or 0 for _ in range(10)) == list(range(1, 11))


@isolated(
    stderr="""Exception ignored {{on|while}} calling ctypes callback function...
Traceback (most recent call last):
...
ValueError: from the callback"""
)
def test_exception_in_a_callback() -> None:
    @cgo.callback(CALLBACK)
    def fail(n: int) -> int:
        raise ValueError("from the callback")

    cgo.call(load().call, fail, 5)


def test_a_callback_is_the_pointer_of_its_kind() -> None:
    def double(n: int) -> int:
        """Doubles."""
        return 2 * n

    pointer = cgo.callback(CALLBACK)(double)
    assert isinstance(pointer, CALLBACK)
    assert load().call(pointer, 4) == 8
    seen: list[Any] = []
    cgo.callback(seen.append)(double)
    assert (seen[0].__name__, seen[0].__doc__, seen[0](3)) == ("double", "Doubles.", 6)
    with pytest.raises(TypeError, match="decorates a callable, not 5"):
        cgo.callback(CALLBACK)(5)  # type: ignore[arg-type]


# -- gort's own traceback -------------------------------------------------------------------------


def texts_of(function: str, n: int = 1, enable: str = LINES) -> list[str]:
    """The frames of the C function `function` that calls back."""
    _core.cgo_enable_traceback(enable)
    lib, texts = cgo.wrap(load()), []

    @cgo.callback(CALLBACK)
    def look(n: int) -> int:
        texts.append(_core._cgo_frames_text(0))
        return n

    getattr(lib, function)(look, n)
    return texts


def line_of(text: str) -> int:
    source = Path(__file__).resolve().parent.parent / "clib.c"
    return source.read_text().splitlines().index(text) + 1


@isolated()
def test_frames_of_nested_functions() -> None:
    assert cgo.enable_traceback() == has_libdw()
    (text,) = texts_of("nested_outer")
    assert names(text) == ["nested_inner", "nested_middle", "nested_outer"]
    assert re.search(r" pc=0x[0-9a-f]+$", text)
    if has_libdw():
        lines = [
            line_of("    int r = fn(n);"),
            line_of("    int r = nested_inner(fn, n);"),
            line_of("    int r = nested_middle(fn, n);"),
        ]
        assert [re.sub(".*/", "", place) for place in places(text)] == [f"clib.c:{line}" for line in lines]


def depth_touched(address: int, span: int) -> int:
    """How far below an address of a stack memory has been used, in bytes."""
    page = os.sysconf("SC_PAGE_SIZE")
    first, last = (address - span) // page, address // page
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(first * 8)
        entries = array.array("Q", pagemap.read((last - first) * 8))
    touched = [n for n, entry in enumerate(entries) if entry >> 62]  # present or swapped
    return (last - first - min(touched)) * page if touched else 0


@isolated()
def test_libdw_uses_a_stack_of_its_own() -> None:
    """It has frames of 150 KiB: more than a signal's stack holds, or than that of a goroutine need hold."""
    cgo.enable_traceback()
    lib, texts = cgo.wrap(load()), []
    lib.stack_address.restype = ctypes.c_size_t
    look = cgo.callback(CALLBACK)(lambda n: texts.append(_core._cgo_frames_text(0)) or n)

    def body() -> int:
        address = lib.stack_address()
        lib.nested_middle(look, 1)
        return depth_touched(address, 1 << 20)

    assert gort.run(body) < 100 << 10
    assert names(texts[0]) == ["nested_inner", "nested_middle"]


@isolated()
def test_frames_without_libdw() -> None:
    (text,) = texts_of("nested_outer", enable="libno-such-thing.so")
    assert names(text) == ["nested_inner", "nested_middle", "nested_outer"]
    assert all(re.fullmatch(r".*/clib\.so\+0x[0-9a-f]+", place) for place in places(text))


@isolated()
def test_frames_of_static_and_inlined_functions() -> None:
    if not has_libdw():
        return
    (text,) = texts_of("calls_hidden")
    assert names(text) == ["hidden", "calls_hidden"]
    (text,) = texts_of("calls_folded")
    assert names(text) == ["folded", "calls_folded"]
    inlined, outer = (int(place.rpartition(":")[2]) for place in places(text))
    assert inlined < outer == line_of("    int r = folded(fn, n);")


@isolated()
def test_frames_of_nested_callbacks_are_told_apart() -> None:
    cgo.enable_traceback()
    lib, texts = cgo.wrap(load()), []

    @cgo.callback(CALLBACK)
    def inner(n: int) -> int:
        runtime.gosched()
        gort.time.sleep(0.001)
        texts.append([_core._cgo_frames_text(nth) for nth in range(4)])
        return n

    @cgo.callback(CALLBACK)
    def middle(n: int) -> int:
        return int(cgo.call(inner, n))  # C code of nobody: only of ctypes

    @cgo.callback(CALLBACK)
    def outer(n: int) -> int:
        runtime.gosched()
        return int(lib.calls_hidden(middle, n))

    wg = WaitGroup()
    for _ in range(8):
        wg.go(lib.nested_middle, outer, 1)
    wg.wait()
    assert len(texts) == 8
    for zero, one, two, three in texts:
        assert zero == three == ""
        assert "calls_hidden" in names(one)
        assert names(two) == ["nested_inner", "nested_middle"]


@isolated()
def test_frames_of_a_plain_call_with_a_callback() -> None:
    """The call into C is ctypes' own: only the callback is known."""
    cgo.enable_traceback()
    lib, texts = load(), []

    @cgo.callback(CALLBACK)
    def look(n: int) -> int:
        texts.append(_core._cgo_frames_text(0))
        return n

    lib.nested_middle(look, 1)
    cgo.call(lib.nested_outer, look, 1)
    assert [names(text) for text in texts] == [
        ["nested_inner", "nested_middle"],
        ["nested_inner", "nested_middle", "nested_outer"],
    ]
    assert _core._cgo_frames_text(0) == ""


@isolated()
def test_frames_on_other_threads() -> None:
    cgo.enable_traceback()
    lib, texts = cgo.wrap(load()), []

    @cgo.callback(CALLBACK)
    def look(n: int) -> int:
        texts.append(names(_core._cgo_frames_text(0)))
        return n

    lib.call_on_thread(look, 1, 1)
    assert "run_task" in texts.pop() or not has_libdw()  # a static function
    thread = threading.Thread(target=lib.nested_inner, args=(look, 1))
    thread.start()
    thread.join()
    assert texts.pop() == ["nested_inner"]


@isolated()
def test_deep_stacks_are_cut() -> None:
    (text,) = texts_of("deep", 200)
    assert names(text) == ["deep"] * 64
    assert text.endswith("...additional C frames elided...\n")
    texts_of("deep", 10)


@isolated()
def test_pcs_and_what_they_are() -> None:
    cgo.enable_traceback()
    lib, seen = cgo.wrap(load()), []

    @cgo.callback(CALLBACK)
    def look(n: int) -> int:
        pcs = _core._cgo_pcs(0)
        seen.append((len(pcs), _core._cgo_symbolize(pcs)))
        assert _core._cgo_pcs(1) == []
        return n

    lib.nested_middle(look, 1)
    lib.calls_folded(look, 1)
    (count, entries), (count_inlined, inlined) = seen
    assert (count, count_inlined) == (2, 1)
    assert [name for _, name, _, _ in entries] == ["nested_inner", "nested_middle"]
    if has_libdw():
        assert [(os.path.basename(file or ""), line) for _, _, file, line in entries] == [
            ("clib.c", line_of("    int r = fn(n);")),
            ("clib.c", line_of("    int r = nested_inner(fn, n);")),
        ]
        assert [name for _, name, _, _ in inlined] == ["folded", "calls_folded"]
        assert inlined[0][0] == inlined[1][0]
    ((pc, name, file, line),) = _core._cgo_symbolize([4096])
    assert (pc, name, file, line) == (4096, None, None, 0)
    with pytest.raises(TypeError):
        _core._cgo_symbolize(["x"])  # type: ignore[list-item]


@isolated()
def test_frames_of_here() -> None:
    cgo.enable_traceback()
    lib = cgo.wrap(load(ctypes.PyDLL))
    texts: list[str] = []

    @ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int)
    def look(n: int) -> int:
        texts.append(_core._cgo_frames_text(-1))
        return n

    lib.nested_inner(look, 1)
    assert [names(text) for text in texts] == [["nested_inner"]]


@isolated()
def test_contexts_are_given_back() -> None:
    """A record for each callback, freed when it returns: memory does not grow."""
    cgo.enable_traceback()
    lib = cgo.wrap(load())
    nothing = cgo.callback(CALLBACK)(lambda n: n)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    for _ in range(1000):
        lib.call(nothing, 1)
    before = resident()
    for _ in range(50_000):
        lib.call(nothing, 1)
    # AddressSanitizer keeps what is freed.
    assert resident() - before < 256 or "libasan" in os.environ.get("LD_PRELOAD", "")


@pytest.mark.parametrize("place", ["main", "goroutine"])
@isolated(
    stderr="""...
signal_inner(...)
	...
signal_outer(...)
	...
"""
)
def test_frames_in_a_signal_handler(place: str) -> None:
    cgo.enable_traceback()
    lib = cgo.wrap(load())
    handler = ctypes.c_void_p(_core._cgo_print_on_signal)
    lib.on_signal(10, handler)

    def call() -> None:
        if place != "main":  # the threads of goroutines take no signals
            user1 = (ctypes.c_ulong * 16)(1 << 9)
            ctypes.CDLL(None).pthread_sigmask(signal.SIG_UNBLOCK, user1, None)
        lib.signal_outer(10)

    call() if place == "main" else gort.run(call)


def test_lines_in_a_signal_handler() -> None:
    """The C code that is interrupted holds no lock of malloc: libdw may be asked."""
    outcome = isolate(_busy)
    outcome.check(status=0)
    assert names(outcome.stderr) == ["busy_inner", "busy_outer"]
    if has_libdw():
        assert all("clib.c:" in place for place in places(outcome.stderr))


def _busy() -> None:
    cgo.enable_traceback()
    lib = cgo.wrap(load())
    lib.on_signal(signal.SIGVTALRM, ctypes.c_void_p(_core._cgo_print_on_signal))
    lib.busy_outer.argtypes = [ctypes.c_long]
    lib.busy_outer(100_000_000)  # the signal comes to the main thread


@isolated()
def test_no_frames_for_a_signal_in_python() -> None:
    cgo.enable_traceback()
    lib = cgo.wrap(load())
    lib.on_signal(10, ctypes.c_void_p(_core._cgo_print_on_signal))
    os.kill(os.getpid(), 10)
    nothing = cgo.callback(CALLBACK)(lambda n: os.kill(os.getpid(), 10) or n)
    lib.nested_outer(nothing, 1)


@isolated()
def test_no_frames_for_what_the_interpreter_calls_in_libc() -> None:
    cgo.enable_traceback()
    load().on_signal(10, ctypes.c_void_p(_core._cgo_print_on_signal))
    assert cgo.call(ctypes.pythonapi.PyRun_SimpleString, b"import os; os.kill(os.getpid(), 10)") == 0


@isolated()
def test_fork_in_a_callback() -> None:
    cgo.enable_traceback()
    lib = cgo.wrap(load())

    @cgo.callback(CALLBACK)
    def fork(n: int) -> int:
        pid = os.fork()
        if pid == 0:
            good = names(_core._cgo_frames_text(0)) == ["nested_inner"]
            os._exit(7 if good else 1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert lib.nested_inner(fork, 0) == 8


# -- set_cgo_traceback ------------------------------------------------------------------------------


def use(lib: Any, *functions: str | None) -> None:
    runtime.set_cgo_traceback(0, *(name and getattr(lib, name) for name in functions))


def record_of(lib: Any) -> list[str]:
    lib.take_record.restype = ctypes.c_char_p
    text: bytes = lib.take_record()
    return text.decode().splitlines()


@isolated()
def test_sequence_of_calls() -> None:
    lib = load()
    use(lib, "record_traceback", "record_context", "record_symbolizer")

    @cgo.callback(CALLBACK)
    def inner(n: int) -> int:
        assert record_of(lib) == ["context 0: 102"]
        assert _core._cgo_frames_text(1) == TEXT
        assert record_of(lib) == ["traceback 101 sig 0 max 1", *SYMBOLIZED]
        assert _core._cgo_frames_text(0) == TEXT
        assert record_of(lib) == ["traceback 102 sig 0 max 1", *SYMBOLIZED]
        assert _core._cgo_frames_text(2) == ""
        assert record_of(lib) == []
        return n

    @cgo.callback(CALLBACK)
    def outer(n: int) -> int:
        assert record_of(lib) == ["context 0: 101"]
        assert cgo.call(lib.call, inner, n) == n
        assert record_of(lib) == ["context 102: 102"]
        return n

    assert cgo.call(lib.call, outer, 5) == 5
    assert record_of(lib) == ["context 101: 101"]
    assert _core._cgo_frames_text(-1) == TEXT
    assert record_of(lib) == ["traceback 0 sig 0 max 1", *SYMBOLIZED]


TEXT = """\
first(...)
	/src/one.c:10 pc=0x1000
second(...)
	/src/one.c:20 pc=0x1000
third(...)
	pc=0x2000
"""
SYMBOLIZED = [
    "symbolizer 0x1000 data 0 more 0 line 0 func -",
    "symbolizer 0x1000 data 1 more 1 line 10 func first",
    "symbolizer 0x2000 data 2 more 0 line 20 func second",
    "symbolizer 0 data 3 more 0 line 0 func third",
]


@isolated(
    stderr="""first(...)
	/src/one.c:10 pc=0x1000
second(...)
	/src/one.c:20 pc=0x1000
third(...)
	pc=0x2000
"""
)
def test_sequence_in_a_signal_handler() -> None:
    lib = load()
    use(lib, "record_traceback", "record_context", "record_symbolizer")
    lib.on_signal(10, ctypes.c_void_p(_core._cgo_print_on_signal))
    cgo.call(lib.signal_outer, 10)
    assert record_of(lib) == ["traceback 0 sig 1 max 1", *SYMBOLIZED]

    # Nobody is in C: the traceback function is not asked.
    os.kill(os.getpid(), 10)
    send = cgo.callback(CALLBACK)(lambda n: os.kill(os.getpid(), 10) or n)
    cgo.call(lib.call, send, 1)
    assert record_of(lib) == ["context 0: 101", "context 101: 101"]


@isolated()
def test_contexts_of_exceptions_and_parked_callbacks_are_released() -> None:
    lib, wg = load(), WaitGroup()
    use(lib, "record_traceback", "record_context", None)
    sys.unraisablehook = lambda _: None

    @cgo.callback(CALLBACK)
    def fail(n: int) -> int:
        runtime.gosched()
        raise ValueError

    for _ in range(8):
        wg.go(cgo.call, lib.call, fail, 1)
    wg.wait()
    lines = record_of(lib)
    recorded = [line.split()[2] for line in lines if line.startswith("context 0:")]
    released = [line.split()[2] for line in lines if not line.startswith("context 0:")]
    assert len(recorded) == 8 and sorted(recorded) == sorted(released)


@isolated()
def test_without_a_symbolizer() -> None:
    lib = load()
    use(lib, "record_traceback", "record_context", None)
    texts: list[str] = []
    look = cgo.callback(CALLBACK)(lambda n: texts.append(_core._cgo_frames_text(0)) or n)
    cgo.call(lib.call, look, 1)
    assert texts == ["non-Python function\n\tpc=0x1000\nnon-Python function\n\tpc=0x2000\n"]


@isolated()
def test_without_a_context_function() -> None:
    lib = load()
    use(lib, "record_traceback", None, "record_symbolizer")
    texts: list[str] = []
    look = cgo.callback(CALLBACK)(lambda n: texts.append(_core._cgo_frames_text(0)) or n)
    cgo.call(lib.call, look, 1)
    assert texts == [""]
    assert record_of(lib) == []


@isolated()
def test_without_a_traceback_function() -> None:
    lib = load()
    use(lib, None, "record_context", "record_symbolizer")
    texts: list[str] = []
    look = cgo.callback(CALLBACK)(lambda n: texts.append(_core._cgo_frames_text(0)) or n)
    cgo.call(lib.call, look, 1)
    assert texts == [""] and _core._cgo_frames_text(-1) == ""
    assert record_of(lib) == ["context 0: 101", "context 101: 101"]


@isolated()
def test_no_functions_at_all() -> None:
    runtime.SetCgoTraceback(0, None, None, None)
    assert _core._cgo_frames_text(-1) == ""


def text_with(traceback: str, symbolizer: str | None) -> str:
    use(load(), traceback, None, symbolizer)
    return _core._cgo_frames_text(-1)


@isolated()
def test_a_traceback_without_end() -> None:
    text = text_with("full_traceback", None)
    assert text.count("non-Python function\n") == 64
    assert text.endswith("pc=0x103f\n...additional C frames elided...\n")


@isolated()
def test_a_traceback_beyond_its_buffer() -> None:
    text = text_with("overfull_traceback", None)
    assert text.startswith("the cgo traceback function stored more than Max entries\n")
    assert text.count("non-Python function\n") == 64


@isolated()
def test_a_symbolizer_that_always_has_more() -> None:
    text = text_with("one_traceback", "more_symbolizer")
    assert text.count("again(...)\n") == 100
    assert text.endswith("the cgo symbolizer does not stop saying that there is more\n")


@isolated()
def test_strings_that_are_none() -> None:
    assert text_with("one_traceback", "wild_symbolizer") == "non-Python function\n\ttwo?lines:5 pc=0x1234\n"


@isolated()
def test_strings_without_end() -> None:
    assert text_with("one_traceback", "long_symbolizer") == f"{'x' * 511}(...)\n\tpc=0x1234\n"


@isolated()
def test_functions_are_set_once() -> None:
    lib = load()
    use(lib, "record_traceback", None, None)
    use(lib, "record_traceback", None, None)
    address = ctypes.cast(lib.record_traceback, ctypes.c_void_p)
    runtime.set_cgo_traceback(0, address, None, 0)
    runtime.set_cgo_traceback(0, address.value, None, None)
    for again in (
        lambda: use(lib, "one_traceback", None, None),
        lambda: use(lib, "record_traceback", "record_context", None),
        lambda: use(lib, None, None, None),
        cgo.enable_traceback,
    ):
        with pytest.raises(runtime.Error) as caught:
            again()
        assert str(caught.value) == (
            "other functions for C tracebacks are already set; they can be set only once"
        )


@isolated()
def test_enable_traceback_twice() -> None:
    assert cgo.enable_traceback() == cgo.enable_traceback()
    with pytest.raises(runtime.Error):
        runtime.set_cgo_traceback(0, None, None, None)


@pytest.mark.parametrize("version", [1, -1, 1 << 70])
def test_bad_version(version: int) -> None:
    with pytest.raises(ValueError, match=f"^set_cgo_traceback: the version must be 0, not {version}$"):
        runtime.set_cgo_traceback(version, None, None, None)


@pytest.mark.parametrize("version", ["0", None, 0.0])
def test_a_version_that_is_no_number(version: Any) -> None:
    with pytest.raises(TypeError) as caught:
        runtime.set_cgo_traceback(version, None, None, None)
    assert str(caught.value) == f"set_cgo_traceback: the version must be an int, not {version!r}"


@pytest.mark.parametrize("bad", ["traceback", 1.5, len, [1], True, ctypes.c_int(5)])
@pytest.mark.parametrize("name", ["traceback", "context", "symbolizer"])
def test_what_is_no_pointer(name: str, bad: Any) -> None:
    given = {"traceback": None, "context": None, "symbolizer": None, name: bad}
    with pytest.raises(TypeError) as caught:
        runtime.set_cgo_traceback(0, **given)
    assert str(caught.value) == (
        f"set_cgo_traceback: {name} must be an address, a function pointer of ctypes or cffi, or None, "
        f"not {bad!r}"
    )


@pytest.mark.parametrize("bad", [5, -1, 1 << 80])
def test_an_address_of_no_code(bad: int) -> None:
    with pytest.raises(ValueError) as caught:
        runtime.set_cgo_traceback(0, None, bad, None)
    assert str(caught.value) == f"set_cgo_traceback: context is {bad}, which is not an address of code"


def test_python_functions_are_refused() -> None:
    pointer = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda p: None)
    with pytest.raises(ValueError, match="which calls Python; it must be C code"):
        runtime.set_cgo_traceback(0, pointer, None, None)


# -- cgocheck -------------------------------------------------------------------------------------


class Plain(ctypes.Structure):
    _fields_ = [("n", ctypes.c_int), ("name", ctypes.c_char * 8), ("bits", ctypes.c_int, 3)]


class Holder(ctypes.Structure):
    _fields_ = [("n", ctypes.c_int), ("value", ctypes.py_object)]


class Outer(ctypes.Structure):
    _fields_ = [("plain", Plain), ("holders", Holder * 2)]


class Derived(Holder):
    _fields_ = [("more", ctypes.c_int)]


class Either(ctypes.Union):
    _fields_ = [("n", ctypes.c_long), ("value", ctypes.py_object)]


class Pointing(ctypes.Structure):
    _fields_ = [("n", ctypes.c_int), ("holder", ctypes.POINTER(Holder))]


class Node(ctypes.Structure):
    pass


Node._fields_ = [("next", ctypes.POINTER(Node)), ("value", ctypes.py_object)]


class Parameter:
    def __init__(self, value: Any) -> None:
        self._as_parameter_ = value


def ring(value: Any) -> Any:
    first, second = Node(), Node()
    first.next, second.next = ctypes.pointer(second), ctypes.pointer(first)
    if value is not None:
        second.value = value
    return first


REFUSED: dict[str, Callable[[], Any]] = {
    "structure": lambda: Holder(1, "x"),
    "pointer to structure": lambda: ctypes.byref(Holder(1, "x")),
    "pointer": lambda: ctypes.pointer(Holder(1, "x")),
    "pointer to object": lambda: ctypes.byref(ctypes.py_object("x")),
    "typed pointer to object": lambda: ctypes.pointer(ctypes.py_object("x")),
    "array": lambda: (ctypes.py_object * 3)(1, 2, 3),  # type: ignore[misc]
    "nested": lambda: ctypes.byref(Outer(Plain(), (Holder * 2)(Holder(), Holder(2, "x")))),
    "derived": lambda: ctypes.byref(Derived(1, "x", 2)),
    "union": lambda: ctypes.byref(Either(value="x")),
    "pointer in structure": lambda: ctypes.byref(Pointing(1, ctypes.pointer(Holder(1, "x")))),
    "pointer to pointer": lambda: ctypes.pointer(ctypes.pointer(Holder(1, "x"))),
    "array of pointers": lambda: (ctypes.POINTER(Holder) * 2)(None, ctypes.pointer(Holder(1, "x"))),  # type: ignore[misc]
    "ring": lambda: ctypes.byref(ring("x")),
    "parameter": lambda: Parameter(Parameter(ctypes.byref(Holder(1, "x")))),
}

PASSED: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "int": lambda: 5,
    "bytes": lambda: b"bytes",
    "str": lambda: "text",
    "object": lambda: ctypes.py_object([1]),
    "plain structure": lambda: ctypes.byref(Plain(1, b"x", 2)),
    "array": lambda: (ctypes.c_int * 5)(1, 2, 3),
    "array of structures": lambda: (Plain * 5)(),
    "void pointer": lambda: ctypes.c_void_p(5),
    "buffer": lambda: ctypes.create_string_buffer(100),
    "null objects": lambda: ctypes.byref(Outer()),
    "null pointer": lambda: ctypes.byref(Pointing(1, None)),
    "null typed pointer": lambda: ctypes.POINTER(Holder)(),
    "pointer": lambda: ctypes.pointer(ctypes.c_int(5)),
    "ring": lambda: ctypes.byref(ring(None)),
    "function": lambda: CALLBACK(lambda n: n),
    "parameter": lambda: Parameter(7),
}


def hand_over(argument: Any) -> None:
    """Calls a C function that looks at none of its arguments."""
    cgo.call(ctypes.CDLL(None).getppid, argument)


@pytest.mark.parametrize("case", REFUSED)
def test_pointers_to_objects_are_refused(case: str) -> None:
    before = runtime.num_cgo_call()
    for _ in range(2):
        with pytest.raises(runtime.Error) as caught:
            hand_over(REFUSED[case]())
        assert str(caught.value) == "cgo argument has Go pointer to Go pointer"
        (note,) = caught.value.__notes__
        assert note.startswith("It is argument 1 of the C function, of type ")
    assert runtime.num_cgo_call() == before


@pytest.mark.parametrize("case", PASSED)
def test_everything_else_passes(case: str) -> None:
    for _ in range(2):
        hand_over(PASSED[case]())


def test_keyword_arguments_are_checked() -> None:
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    function = prototype(("accepts_any", load()), ((1, "p"),))
    with pytest.raises(runtime.Error):
        cgo.call(function, p=ctypes.byref(Holder(1, "x")))


def test_wrapped_functions_are_checked() -> None:
    with pytest.raises(runtime.Error):
        cgo.wrap(load()).accepts_any(ctypes.byref(Holder(1, "x")))


def test_a_buffer_of_objects_is_refused() -> None:
    numpy = pytest.importorskip("numpy")
    getppid = ctypes.CDLL(None).getppid
    getppid.argtypes = [numpy.ctypeslib.ndpointer()]
    cgo.call(getppid, numpy.zeros(3))
    with pytest.raises(runtime.Error):
        cgo.call(getppid, numpy.array(["x", None], dtype=object))


def test_a_type_that_is_completed_later() -> None:
    class Later(ctypes.Structure):
        pass

    class Link(ctypes.Structure):
        _fields_ = [("later", ctypes.POINTER(Later))]

    hand_over(ctypes.byref(Link()))
    hand_over(Link())
    Later._fields_ = [("value", ctypes.py_object)]
    with pytest.raises(runtime.Error):
        hand_over(ctypes.byref(Link(ctypes.pointer(Later("x")))))
    with pytest.raises(runtime.Error):
        hand_over(Link(ctypes.pointer(Later("x"))))


@isolated(env={"GODEBUG": "cgocheck=0"})
def test_level_0_checks_nothing() -> None:
    for make in REFUSED.values():
        hand_over(make())


def words(*values: int) -> Any:
    return (ctypes.c_size_t * len(values))(*values)


@pytest.mark.parametrize("level", ["1", "2"])
def test_addresses_in_plain_memory(level: str) -> None:
    isolate(_addresses, level, env={"GODEBUG": f"cgocheck={level}"}).check(stdout="", stderr="")


def _addresses(level: str) -> None:
    tracked: list[Any] = ["held by a list, and not tracked itself" * 2, object()]
    memories: dict[str, Callable[[int], Any]] = {
        "array": lambda a: words(1, a),
        "byref": lambda a: ctypes.byref(ctypes.c_size_t(a)),
        "pointer": lambda a: ctypes.pointer(ctypes.c_size_t(a)),
        "bytes": lambda a: a.to_bytes(8, sys.byteorder),
        "bytearray": lambda a: Parameter((ctypes.c_char * 16).from_buffer(bytearray(words(1, a)))),
        "structure": lambda a: ctypes.byref(Plain.from_buffer_copy(words(1, a))),
    }
    for name, make in memories.items():
        for address in (id(tracked), id(tracked[0]), id(tracked[1])):
            argument = make(address)
            if level == "1":
                hand_over(argument)
                continue
            with pytest.raises(runtime.Error):
                hand_over(argument)
                raise AssertionError(name)
        for number in (0, 1, 4096, id(tracked) + 8, id(tracked) + 1, 0x7FFF_FFFF_FFFF_FFFF):
            hand_over(make(number))
    for passed in PASSED.values():
        hand_over(passed())
    hand_over(ctypes.c_void_p(id(tracked)))  # the pointer itself


def test_reading_words_of_bad_addresses() -> None:
    assert _core.cgo_word(16) == 0
    assert _core.cgo_holds_objects([(16, 4096), (0, 100)]) is False
    word = ctypes.c_size_t(77)
    assert _core.cgo_word(ctypes.addressof(word)) == 77
    with pytest.raises(TypeError):
        _core.cgo_holds_objects(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        _core.cgo_holds_objects([5])


def test_a_large_array_of_numbers_is_not_looked_through() -> None:
    start = time.process_time()
    big = array.array("d", bytes(8 * 1_000_000))
    memory = (ctypes.c_double * 1_000_000).from_buffer(big)
    for _ in range(100):
        hand_over(memory)
        hand_over(ctypes.byref(memory))
    assert time.process_time() - start < 2


# -- cffi -----------------------------------------------------------------------------------------

CFFI_SOURCE = """
#include <unistd.h>
static int twice(int n) { return 2 * n; }
static int apply(int (*fn)(int), int n) { int r = fn(n); return r + 1; }
static int sleep_us(int n) { usleep(n); return n; }
"""


def cffi_abi() -> Any:
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(
        "int call(int (*)(int), int); int nested_outer(int (*)(int), int); int accepts_any(void *);"
        "void sleep_us(unsigned);"
        "void record_traceback(void *); void record_context(void *); void record_symbolizer(void *);"
    )
    return ffi, ffi.dlopen(os.environ.get("CLIB") or clib())


def test_cffi() -> None:
    pytest.importorskip("cffi")
    run_cffi()


@isolated()
def run_cffi() -> None:
    ffi, lib = cffi_abi()
    cgo.enable_traceback()
    wrapped, texts = cgo.wrap(lib), []

    @cgo.callback(ffi.callback("int(int)"))
    def look(n: int) -> int:
        runtime.gosched()
        texts.append(names(_core._cgo_frames_text(0)))
        return n

    assert cgo.call(lib.call, look, 3) == 3
    assert wrapped.nested_outer(look, 3) == 114
    assert runtime.num_cgo_call() == 2
    assert texts == [["call"], ["nested_inner", "nested_middle", "nested_outer"]]
    assert any(handoffs_of(wrapped.sleep_us, 20_000) == 1 for _ in range(TRIES))
    with pytest.raises(TypeError):
        cgo.call(ffi.new("int *"), 1)


def test_cffi_pointers_for_set_cgo_traceback() -> None:
    pytest.importorskip("cffi")
    run_cffi_pointers()


@isolated()
def run_cffi_pointers() -> None:
    ffi, lib = cffi_abi()
    context = ffi.cast("void *", lib.record_context)
    runtime.set_cgo_traceback(0, lib.record_traceback, context, lib.record_symbolizer)
    assert _core._cgo_frames_text(-1) == TEXT
    with pytest.raises(TypeError):
        runtime.set_cgo_traceback(0, ffi.cast("int", 5), None, None)


def test_cffi_memory_is_checked_at_level_2() -> None:
    pytest.importorskip("cffi")
    run_cffi_memory()


@isolated(env={"GODEBUG": "cgocheck=2"})
def run_cffi_memory() -> None:
    ffi, lib = cffi_abi()
    tracked = [1]
    handle = ffi.new_handle(tracked)
    assert cgo.call(lib.accepts_any, handle) == 1
    assert cgo.call(lib.accepts_any, ffi.new("long[]", [1, 2, 3])) == 1
    for memory in (ffi.new("size_t[]", [1, id(tracked)]), ffi.new("void *[1]", [handle])):
        with pytest.raises(runtime.Error):
            cgo.call(lib.accepts_any, memory)


def test_cffi_module() -> None:
    pytest.importorskip("cffi")
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler
    with tempfile.TemporaryDirectory(prefix="gort-tests-") as folder:
        import cffi

        ffi = cffi.FFI()
        ffi.cdef("int twice(int); int apply(int (*)(int), int); int sleep_us(int);")
        ffi.cdef('extern "Python" int back(int);')
        ffi.set_source("cffi_sample", CFFI_SOURCE)
        source, target = (os.path.join(folder, "cffi_sample" + suffix) for suffix in (".c", ".so"))
        ffi.emit_c_code(source)
        include = "-I" + sysconfig.get_path("include")
        subprocess.run([compiler, "-shared", "-fPIC", include, "-o", target, source], check=True)
        run_cffi_module(folder)


@isolated()
def run_cffi_module(folder: str) -> None:
    sys.path.insert(0, folder)
    from cffi_sample import ffi, lib  # type: ignore[import-not-found]

    wrapped = cgo.wrap(lib)
    assert cgo.call(lib.twice, 4) == 8
    assert wrapped.twice(5) == 10

    @cgo.callback(ffi.def_extern())
    def back(n: int) -> int:
        runtime.gosched()
        return n * 3

    assert wrapped.apply(lib.back, 5) == 16
    assert runtime.num_cgo_call() == 3
    assert any(handoffs_of(wrapped.sleep_us, 20_000) == 1 for _ in range(TRIES))
