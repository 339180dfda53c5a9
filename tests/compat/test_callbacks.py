"""C code that calls back into Python, holding the interpreter or not, on goroutines and new threads."""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
import time
from typing import Any
from xml.parsers import expat

import pytest

import gort
from gort import chan, go, select
from gort.runtime import Error, gosched, lock_os_thread
from gort.sync import WaitGroup
from gort.time import after, sleep
from harness import isolated
from helpers import must_recv

CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)


def load(kind: Any = ctypes.CDLL) -> Any:
    return kind(os.environ["CLIB"])


@pytest.mark.parametrize("place", ["main", "goroutine", "thread"])
@isolated()
def test_callback_parks(place: str) -> None:
    lib, ch = load(), chan()

    def body() -> None:
        @CALLBACK
        def callback(n: int) -> int:
            go(ch.send, n)
            gosched()
            sleep(0.0005)
            time.sleep(0.0005)
            return must_recv(ch) + 1

        for i in range(20):
            assert lib.call(callback, i) == i + 1
            assert lib.call_after(callback, i, 200) == i + 1

    run(place, body)


def run(place: str, body: Any) -> None:
    if place == "main":
        body()
    elif place == "goroutine":
        gort.run(body)
    else:
        errors: list[BaseException] = []
        done = chan(1)

        def thread() -> None:
            try:
                body()
            except BaseException as error:
                errors.append(error)
            finally:
                done.send(1)

        threading.Thread(target=thread).start()
        done.recv()
        assert not errors, errors


@pytest.mark.parametrize("kind", ["CDLL", "PyDLL"])
@isolated()
def test_many_goroutines_inside_callbacks(kind: str) -> None:
    """Parked below C frames at once, with the interpreter released and held around the C call."""
    lib, gate, wg, results = load(getattr(ctypes, kind)), chan(), WaitGroup(), []

    @CALLBACK
    def callback(n: int) -> int:
        gosched()
        gate.recv()
        return n * 2

    for n in range(300):
        wg.go(lambda n=n: results.append(lib.call(callback, n)))  # type: ignore[misc]
    sleep(0.005)
    gate.close()
    wg.wait()
    assert sorted(results) == [n * 2 for n in range(300)]


@isolated()
def test_nested_callbacks() -> None:
    lib, wg, results = load(), WaitGroup(), []

    @CALLBACK
    def callback(n: int) -> int:
        gosched()
        return n if n == 0 else 1 + lib.call(callback, n - 1)

    for _ in range(50):
        wg.go(lambda: results.append(lib.call(callback, 10)))
    wg.wait()
    assert results == [10] * 50


@isolated()
def test_qsort() -> None:
    libc = ctypes.CDLL(None)
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))

    @compare
    def by_value(a: Any, b: Any) -> int:
        gosched()
        return a[0] - b[0]

    def body(seed: int) -> None:
        values = [(i * seed) % 101 for i in range(60)]
        array = (ctypes.c_int * len(values))(*values)
        libc.qsort(array, ctypes.c_size_t(len(values)), ctypes.c_size_t(4), by_value)
        assert list(array) == sorted(values)

    wg = WaitGroup()
    for seed in range(1, 30):
        wg.go(body, seed)
    wg.wait()


@isolated(
    stderr="""Exception ignored {{on|while}} calling ctypes callback function...
Traceback (most recent call last):
...
ValueError: from the callback"""
)
def test_exception_in_a_callback() -> None:
    @CALLBACK
    def callback(n: int) -> int:
        gosched()
        raise ValueError("from the callback")

    gort.run(load().call, callback, 1)


@pytest.mark.parametrize("place", ["main", "goroutine"])
@isolated()
def test_callback_on_a_thread_that_python_never_saw(place: str) -> None:
    """PyGILState_Ensure on a new pthread, while its creator waits in C and others run."""
    lib, log, stop, wg = load(), chan(1000), [False], WaitGroup()

    def spin() -> None:
        while not stop[0]:
            gosched()

    @CALLBACK
    def callback(n: int) -> int:
        log.send(n)
        go(log.send, n)
        assert select(log, after(10))[0] == 0
        return 1

    def body() -> None:
        for i in range(20):
            assert lib.call_on_thread(callback, i, 5) == 5

    wg.go(spin)
    run(place, body)
    stop[0] = True
    wg.wait()


@isolated()
def test_foreign_threads_send_to_goroutines() -> None:
    lib, ch = load(), chan()

    @CALLBACK
    def callback(n: int) -> int:
        ch.send(n)
        return 0

    for n in range(10):
        lib.start_thread(callback, n * 10, 10)
    got = []
    for _ in range(100):
        index, value, _ = select(ch, after(60))
        assert index == 0
        got.append(value)
    assert sorted(got) == list(range(100))
    sleep(0.01)


@pytest.mark.parametrize("parks", [False, True])
@isolated()
def test_sqlite_functions(parks: bool) -> None:
    """sqlite3 calls Python through PyGILState_Ensure, inside a query that released the interpreter.

    A connection's own lock belongs to an OS thread: a goroutine whose callbacks park locks itself to one.
    """

    def pause() -> None:
        if parks:
            gosched()
        time.sleep(0.00001)

    class Joined:
        def __init__(self) -> None:
            self.items: list[str] = []

        def step(self, value: Any) -> None:
            pause()
            self.items.append(str(value))

        def finalize(self) -> str:
            pause()
            return ",".join(self.items)

    def body(n: int) -> None:
        if parks:
            lock_os_thread()
        database = sqlite3.connect(":memory:", check_same_thread=False)
        database.create_function("twice", 1, lambda x: (pause(), x * 2)[1])
        database.create_function("napping", 1, lambda x: (time.sleep(0.0001), x + 1)[1])
        database.create_aggregate("joined", 1, Joined)  # type: ignore[arg-type]
        database.create_collation("backwards", lambda a, b: (pause(), (a < b) - (a > b))[1])
        database.set_progress_handler(pause, 20)
        database.execute("create table t(x)")
        database.executemany("insert into t values (?)", [(i * n,) for i in range(20)])
        total = database.execute("select sum(twice(napping(x))) from t").fetchone()[0]
        assert total == 2 * sum(i * n + 1 for i in range(20))
        some = database.execute("select joined(x) from t where x < 3 * ?", [n]).fetchone()[0]
        assert some == f"0,{n},{2 * n}"
        query = "select cast(x as text) as s from t order by s collate backwards"
        ordered = database.execute(query).fetchall()
        assert ordered == sorted(ordered, reverse=True)
        database.create_function("bad", 0, lambda: 1 // 0)
        with pytest.raises(sqlite3.OperationalError):
            database.execute("select bad()").fetchall()
        database.close()

    wg = WaitGroup()
    for n in range(1, 21):
        wg.go(body, n)
    wg.wait()


@isolated()
def test_sqlite_iterdump_and_backup_beside_goroutines() -> None:
    def body() -> None:
        source, target = (sqlite3.connect(":memory:", check_same_thread=False) for _ in range(2))
        source.executescript("create table t(x); insert into t values (1), (2);")
        source.backup(target, pages=1, progress=lambda *status: time.sleep(0.0001))
        assert list(source.iterdump()) == list(target.iterdump())

    wg = WaitGroup()
    for _ in range(10):
        wg.go(body)
    wg.wait()


@isolated()
def test_expat_handlers() -> None:
    def body(n: int) -> None:
        seen: list[str] = []
        parser = expat.ParserCreate()

        def start(name: str, attributes: dict[str, str]) -> None:
            gosched()
            seen.append(name)

        parser.StartElementHandler = start
        parser.Parse("<a>" + f"<b{n}/>" * 20 + "</a>", True)
        assert seen == ["a"] + [f"b{n}"] * 20

        def fail(name: str, attributes: dict[str, str]) -> None:
            gosched()
            raise KeyError(name)

        parser = expat.ParserCreate()
        parser.StartElementHandler = fail
        with pytest.raises(KeyError):
            parser.Parse("<a/>", True)

    wg = WaitGroup()
    for n in range(20):
        wg.go(body, n)
    wg.wait()


@isolated()
def test_gilstate_functions() -> None:
    api = ctypes.pythonapi

    def body() -> None:
        assert api.PyGILState_Check() == 1
        for _ in range(10):
            state = api.PyGILState_Ensure()
            gosched()
            assert api.PyGILState_Check() == 1
            api.PyGILState_Release(state)
            gosched()
        assert api.PyGILState_Check() == 1

    body()
    wg = WaitGroup()
    for _ in range(50):
        wg.go(body)
    wg.wait()


@isolated()
def test_gilstate_of_a_goroutine_that_was_moved() -> None:
    """A goroutine that blocked in C while another thread took over still has its own state."""
    api, wg, idents = ctypes.pythonapi, WaitGroup(), set()

    def body() -> None:
        for _ in range(20):
            time.sleep(0.0005)
            idents.add(threading.get_native_id())
            sleep(0.0001)
            state = api.PyGILState_Ensure()
            assert api.PyGILState_Check() == 1
            api.PyGILState_Release(state)

    for _ in range(20):
        wg.go(body)
    wg.wait()
    assert idents


@isolated()
def test_errno_is_the_callers() -> None:
    """ctypes' private copy of errno survives a switch between the call and the question."""
    libc = ctypes.CDLL(None, use_errno=True)
    wg = WaitGroup()

    def body(n: int) -> None:
        for _ in range(50):
            ctypes.set_errno(n)
            gosched()
            assert ctypes.get_errno() == n

    def failing() -> None:
        for _ in range(50):
            assert libc.close(-1) == -1
            assert ctypes.get_errno() == 9
            gosched()

    for n in range(1, 20):
        wg.go(body, n)
    wg.go(failing)
    wg.wait()


@isolated()
def test_goexit_through_a_callback() -> None:
    """goexit below a C frame: ctypes swallows the exception as any other; it comes again afterwards."""
    import sys

    reports = []
    sys.unraisablehook = lambda report: reports.append(report.exc_type.__name__)
    from gort.runtime import goexit

    log, done = [], chan()

    @CALLBACK
    def callback(n: int) -> int:
        goexit()
        return 1

    def body() -> None:
        try:
            load().call(callback, 1)
            gosched()
            log.append("not reached")
        finally:
            done.close()

    go(body)
    done.recv()
    assert log == [] and reports == ["Goexit"]


@isolated()
def test_misuse_in_a_callback_is_reported_once() -> None:
    import sys

    reports = []
    sys.unraisablehook = lambda report: reports.append(report.exc_type)
    closed = chan()
    closed.close()

    @CALLBACK
    def callback(n: int) -> int:
        closed.send(1)
        return 1

    gort.run(load().call, callback, 1)
    assert reports == [Error]
