"""What belongs to a thread in CPython belongs to a goroutine: RLock, get_ident and what goes by it."""

from __future__ import annotations

import _imp
import _thread
import copy
import ctypes
import errno
import functools
import inspect
import logging
import os
import pickle
import reprlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from gort import chan, go, run
from gort.runtime import gosched
from gort.sync import WaitGroup
from gort.time import sleep
from harness import isolated
from helpers import must_recv, wait_until_parked

MAIN = threading.get_ident()


def in_thread(fn: Any, *args: Any) -> Any:
    """What fn returns or raises in a plain thread."""
    result: list[Any] = []

    def body() -> None:
        try:
            result.append(fn(*args))
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return result[0]


def blocked(event: threading.Event) -> None:
    """Waits in C, so that this goroutine's thread is taken and it goes on elsewhere."""
    event.wait(0.005)


@isolated()
def test_rlock_keeps_goroutines_apart() -> None:
    lock, condition = threading.RLock(), threading.Condition()
    counts, wg = {"lock": 0, "condition": 0}, WaitGroup()

    def work() -> None:
        for name, held in (("lock", lock), ("condition", condition)):
            with held, held:
                n = counts[name]
                sleep(0.0005)
                gosched()
                counts[name] = n + 1

    for _ in range(20):
        wg.go(work)
    wg.wait()
    assert counts == {"lock": 20, "condition": 20}


@isolated()
def test_rlock_follows_its_goroutine_to_other_threads() -> None:
    """Held over waits in C and parks, beside others that do the same, by goroutines, main and threads."""
    wg, failures, threads = WaitGroup(), [], set()

    def work() -> None:
        lock, event = threading.RLock(), threading.Event()
        try:
            for _ in range(20):
                with lock:
                    blocked(event)
                    gosched()
                    threads.add(_thread.get_native_id())
                    with lock:
                        sleep(0.0001)
                    assert lock._is_owned()  # type: ignore[attr-defined]
                assert not lock._is_owned()  # type: ignore[attr-defined]
        except BaseException as error:
            failures.append(error)

    for _ in range(10):
        wg.go(work)
    others = [threading.Thread(target=work) for _ in range(3)]
    for thread in others:
        thread.start()
    work()
    wg.wait()
    for thread in others:
        thread.join()
    assert not failures
    assert len(threads) > 4


@isolated()
def test_a_goroutine_that_ends_leaves_the_import_lock() -> None:
    """importlib's `with` cannot give it back where a RecursionError leaves no room for the call."""
    for _ in range(3):
        run(_imp.acquire_lock)
        assert not _imp.lock_held()
    run(lambda: [_imp.acquire_lock() for _ in range(2)])
    assert not _imp.lock_held()
    _imp.acquire_lock()
    run(lambda: None)
    assert _imp.lock_held()
    _imp.release_lock()


@isolated()
def test_import_lock_belongs_to_goroutines() -> None:
    """Held over parks that lead to other threads, it keeps goroutines apart; a fork does not lose it."""
    wg, failures, event = WaitGroup(), [], threading.Event()
    threads, inside = set(), 0

    def work() -> None:
        nonlocal inside
        try:
            for _ in range(10):
                _imp.acquire_lock()
                inside += 1
                assert inside == 1
                thread = _thread.get_native_id()
                blocked(event)
                sleep(0.0001)
                threads.add(_thread.get_native_id() != thread)
                assert _imp.lock_held()
                inside -= 1
                _imp.release_lock()
                blocked(event)
        except BaseException as error:
            failures.append(error)

    for _ in range(5):
        wg.go(work)
    work()
    wg.wait()
    assert not failures
    assert True in threads
    assert not _imp.lock_held()
    with pytest.raises(RuntimeError, match="not holding the import lock"):
        _imp.release_lock()

    release: Any = chan()
    go(lambda: (_imp.acquire_lock(), release.recv(), _imp.release_lock()))
    while not _imp.lock_held():
        sleep(0.001)
    if (pid := os.fork()) == 0:
        _imp.acquire_lock()
        _imp.release_lock()
        os._exit(7 if not _imp.lock_held() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    release.send(None)
    _imp.acquire_lock()
    if (pid := os.fork()) == 0:
        _imp.release_lock()
        os._exit(7 if not _imp.lock_held() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    _imp.release_lock()


@isolated()
def test_cached_property_is_computed_once() -> None:
    class Page:
        computed = 0

        @functools.cached_property
        def body(self) -> str:
            Page.computed += 1
            sleep(0.002)
            return "text"

    page, wg = Page(), WaitGroup()
    for _ in range(20):
        wg.go(lambda: page.body)
    wg.wait()
    assert Page.computed == 1 or sys.version_info >= (3, 12)  # which has no lock there


@isolated()
def test_rlock_of_others_cannot_be_released() -> None:
    lock = threading.RLock()
    release = lock.release

    def not_mine() -> None:
        with pytest.raises(RuntimeError, match=r"^cannot release un-acquired lock$"):
            release()
        assert not lock.acquire(blocking=False)
        assert not lock.acquire(timeout=0.001)
        assert not lock.acquire(True, 0)
        assert not lock._is_owned()  # type: ignore[attr-defined]

    release_it = chan()

    def holder() -> None:
        with lock:
            release_it.recv()
            release_it.recv()

    not_held = run(lambda: pytest.raises(RuntimeError, release))
    assert str(not_held.value) == "cannot release un-acquired lock"
    with lock:
        run(not_mine)
        assert in_thread(not_mine) is None
    go(holder)
    release_it.send(None)
    not_mine()
    run(not_mine)
    assert in_thread(not_mine) is None
    release_it.send(None)
    with lock:
        pass


@isolated()
def test_rlock_that_was_held_before_gort() -> None:
    """Main's, a thread's, and one whose methods were taken before."""
    program = """
import threading, _thread
lock, other, third = threading.RLock(), threading.RLock(), threading.RLock()
lock.acquire(); lock.acquire()
acquire, release, ident = third.acquire, third.release, _thread.get_ident
main = ident()
held, imported, done = threading.Event(), threading.Event(), threading.Event()
def thread():
    with other:
        me = ident()
        held.set(); imported.wait()
        assert other._is_owned() and me == ident() == threading.current_thread().ident
    done.set()
threading.Thread(target=thread).start()
held.wait()
import gort
from gort.runtime import gosched
from gort.sync import WaitGroup
assert lock._is_owned() and ident() == main and not other.acquire(blocking=False)
imported.set(); done.wait()
got = []
def body():
    got.append((lock.acquire(False), ident() == gort._core.goid()))
    acquire()
    gosched()
    release()
wg = WaitGroup()
wg.go(body); wg.go(body); wg.wait()
assert got == [(False, True)] * 2, got
lock.release(); lock.release()
with other: pass
print("ok")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ok\n", "")


@isolated()
def test_rlock_is_as_it_was() -> None:
    """Arguments, errors, repr, documentation and type are CPython's, whoever asks."""
    program = """
import sys, threading, inspect, pickle, copy
def tell():
    lock = threading.RLock()
    out = []
    def attempt(*args, **kw):
        try: out.append(repr(lock.acquire(*args, **kw)))
        except BaseException as e: out.append(f"{type(e).__name__}: {e}")
    attempt(); attempt(1); attempt(False); attempt(blocking=False, timeout=-1); attempt(timeout=5)
    attempt(False, 1); attempt(timeout=-2); attempt(timeout=1e100); attempt(timeout="x"); attempt(True, None)
    attempt(1, 2, 3); attempt(no=1); attempt(timeout=float("nan")); attempt(timeout=9e9)
    attempt(timeout=1 << 62)
    out.append(repr(lock).replace(hex(id(lock)), "ADDR").replace(str(threading.get_ident()), "ME"))
    state = lock._release_save()
    out.append(repr(lock).split(" object ")[0] + str(state[0]))
    for f in (lock.release, lock._release_save):
        try: f()
        except RuntimeError as e: out.append(str(e))
    lock._acquire_restore(state)
    out.append(str(lock._is_owned()))
    if hasattr(lock, "_recursion_count"):
        out.append(str(lock._recursion_count()))
    for f in (pickle.dumps, copy.copy):
        try: f(lock)
        except TypeError as e: out.append(str(e))
    for name in sorted(vars(type(lock))):
        if not name.startswith("__") or name in ("__enter__", "__exit__"):
            out.append(f"{name} {getattr(lock, name).__doc__} {type(vars(type(lock))[name])}")
    out.append(f"{type(lock)} {threading.get_ident.__doc__} {threading.get_ident}")
    lock._at_fork_reinit()
    out.append(str(lock._is_owned()))
    return "\\n".join(out)
"""
    outputs = []
    for run_it in ("print(tell())", "import gort; print(tell())", "import gort; print(gort.run(tell))"):
        done = subprocess.run([sys.executable, "-c", program + run_it], capture_output=True, text=True)
        assert done.stderr == ""
        outputs.append(done.stdout)
    assert outputs[0].count("\n") > 30
    assert outputs[1] == outputs[0]
    assert outputs[2] == outputs[0]


@isolated()
def test_acquire_is_interrupted_by_signals() -> None:
    """Handlers run while main waits for an RLock, and the rest of the time is waited after them."""
    lock, seen, gate = threading.RLock(), [], chan()

    def holder() -> None:
        with lock:
            gate.recv()
            gate.recv()

    go(holder)
    gate.send(None)
    signal.signal(signal.SIGALRM, lambda *_: seen.append(time.monotonic()))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    start = time.monotonic()
    assert not lock.acquire(timeout=1)
    assert len(seen) >= 2
    assert time.monotonic() - start >= 0.99

    def interrupt(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyError("from the handler")

    with pytest.raises(KeyError):
        signal.signal(signal.SIGALRM, interrupt)
        lock.acquire()
    assert not lock._is_owned()  # type: ignore[attr-defined]
    gate.send(None)
    with lock:
        pass


@isolated()
def test_condition_and_queue_storm() -> None:
    condition, wg = threading.Condition(), WaitGroup()
    ready: list[Any] = []

    def consumer() -> None:
        with condition:
            while not ready:
                condition.wait(0.01)
            ready.pop()

    for _ in range(30):
        wg.go(consumer)
    others = [threading.Thread(target=consumer) for _ in range(5)]
    for thread in others:
        thread.start()
    for n in range(35):
        with condition:
            ready.append(n)
            gosched()
            condition.notify()
    wg.wait()
    for thread in others:
        thread.join()
    assert not ready


@isolated()
def test_get_ident_is_one_per_goroutine() -> None:
    wg = WaitGroup()
    idents: list[Any] = []

    def body() -> None:
        mine, thread = {threading.get_ident()}, threading.current_thread()
        for _ in range(5):
            time.sleep(0.0005)
            gosched()
            mine |= {threading.get_ident(), _thread.get_ident(), MAIN_ALIAS()}
        assert len(mine) == 1
        assert threading.current_thread().ident in mine
        assert threading.current_thread() is thread
        assert mine <= sys._current_frames().keys()
        idents.extend(mine)

    MAIN_ALIAS = threading.get_ident
    for _ in range(50):
        wg.go(body)
    wg.wait()
    assert len(set(idents)) == 50
    assert threading.get_ident() == threading.main_thread().ident
    assert threading.get_ident() not in idents
    assert in_thread(threading.get_ident) not in (*idents, threading.get_ident())


@isolated()
def test_recursive_repr_knows_goroutines() -> None:
    """One goroutine in the middle of a repr does not make another's look recursive."""

    class Slow:
        @reprlib.recursive_repr("RECURSION")
        def __repr__(self) -> str:
            sleep(0.001)
            return "right"

    slow, seen, wg = Slow(), [], WaitGroup()
    for _ in range(20):
        wg.go(lambda: seen.append(repr(slow)))
    wg.wait()
    assert seen == ["right"] * 20


@isolated()
def test_threads_are_what_they_were() -> None:
    """Threads that goroutines start know themselves; main knows itself while it is on another thread."""

    def me() -> bool:
        return threading.current_thread().ident == threading.get_ident() > 1 << 32

    wg, right = WaitGroup(), []
    for _ in range(10):
        wg.go(lambda: right.append(in_thread(me)))
    wg.wait()
    assert right == [True] * 10
    before = threading.get_ident()
    event = threading.Event()
    go(lambda: [blocked(event) for _ in range(30)])
    for _ in range(200):
        gosched()
        sleep(0.0002)
        assert threading.get_ident() == before
        assert threading.current_thread() is threading.main_thread()
        assert before in sys._current_frames()


@isolated()
def test_signals_for_goroutines() -> None:
    """pthread_kill() and pthread_getcpuclockid() take the thread of a goroutine, and crash for none."""
    got, gate, wg = chan(10), chan(), WaitGroup()
    signal.signal(signal.SIGUSR1, lambda *_: got.send("signal"))

    def body() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        assert time.clock_gettime(time.pthread_getcpuclockid(threading.get_ident())) >= 0
        gate.recv()

    wg.go(body)
    assert got.recv() == "signal"
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    assert got.recv() == "signal"
    signal.pthread_kill(2, signal.SIGUSR1)  # the goroutine, parked
    assert got.recv() == "signal"
    wait_until_parked(1, "chan receive")
    with pytest.raises(ValueError, match="goroutine 2 is parked: it has no thread"):
        time.pthread_getcpuclockid(2)
    gate.send(None)
    wg.wait()
    while gort_alive(2):
        gosched()
    for ident in (2, 999_999, 0):
        with pytest.raises(ProcessLookupError) as caught:
            signal.pthread_kill(ident, signal.SIGUSR1)
        assert caught.value.errno == errno.ESRCH
        with pytest.raises(ProcessLookupError):
            time.pthread_getcpuclockid(ident)
    assert time.clock_gettime(time.pthread_getcpuclockid(threading.get_ident())) > 0
    for bad in ((), ("x", 1), (1,), (1, 2, 3), (1.5, 2)):
        with pytest.raises(TypeError):
            signal.pthread_kill(*bad)
    with pytest.raises(OSError, match="Invalid argument"):
        run(lambda: signal.pthread_kill(threading.get_ident(), 1000))
    for wrong in ((), ("x",), (1, 2)):
        with pytest.raises(TypeError):
            time.pthread_getcpuclockid(*wrong)


def gort_alive(goid: int) -> bool:
    from gort import _core

    return any(one.goid == goid for one in _core.goroutines())


@isolated()
def test_async_exception_for_a_goroutine() -> None:
    class Stop(Exception):
        pass

    ready, outcome = chan(), chan()

    def victim() -> None:
        try:
            ready.send(threading.get_ident())
            while True:
                gosched()
        except Stop:
            outcome.send("stopped")

    go(victim)
    ident = must_recv(ready)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Stop)) == 1
    assert outcome.recv() == "stopped"


@isolated(stderr="\n".join(["{{.*}}"] * 100))
def test_logging_handler_that_parks() -> None:
    """A handler's emit() waits inside the handler's RLock: records come out whole and one at a time."""
    inside, most = [0], [0]

    class Slow(logging.StreamHandler[Any]):
        def emit(self, record: logging.LogRecord) -> None:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            sleep(0.0001)
            super().emit(record)
            inside[0] -= 1

    logging.getLogger().addHandler(Slow())
    wg = WaitGroup()
    for n in range(80):
        wg.go(logging.warning, "%d", n)
    others = [threading.Thread(target=logging.warning, args=("%d", n)) for n in range(20)]
    for thread in others:
        thread.start()
    wg.wait()
    for thread in others:
        thread.join()
    assert most == [1]


@isolated()
def test_fork_in_a_goroutine_keeps_its_locks() -> None:
    """Who held a lock before the fork holds it in the child, where that goroutine is the main one."""
    lock, others = threading.RLock(), threading.RLock()
    gate = chan()

    def holder() -> None:
        with others:
            gate.recv()
            gate.recv()

    def forks() -> int:
        with lock:
            gosched()
            me = threading.get_ident()
            pid = os.fork()
            if pid == 0:
                try:
                    assert lock._is_owned()  # type: ignore[attr-defined]
                    assert threading.get_ident() == me
                    assert threading.current_thread() is threading.main_thread()
                    assert threading.main_thread().ident == me and threading.main_thread().is_alive()
                    lock.release()
                    assert in_thread(lock.acquire, False)
                    assert not others.acquire(blocking=False)
                    others._at_fork_reinit()  # type: ignore[attr-defined]
                    with others:
                        pass
                    assert run(threading.get_ident) != me
                    again = os.fork()
                    if again == 0:
                        with others:
                            os._exit(threading.get_ident() != me)
                    assert os.waitpid(again, 0)[1] == 0
                    signal.pthread_kill(me, 0)
                    os._exit(0)
                finally:
                    os._exit(1)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    go(holder)
    gate.send(None)
    assert run(forks) == 0
    assert forks() == 0
    gate.send(None)


@isolated()
def test_signatures_and_pickles() -> None:
    assert pickle.loads(pickle.dumps(threading.get_ident)) is threading.get_ident
    assert copy.copy(threading.get_ident) is threading.get_ident
    assert str(inspect.signature(signal.pthread_kill)) == "(thread_id, signalnum, /)"
    assert inspect.isbuiltin(threading.get_ident)
    assert type(threading.RLock()) is _thread.RLock


def execute(connection: sqlite3.Connection) -> str:
    try:
        return str(connection.execute("SELECT 1").fetchone())
    except sqlite3.ProgrammingError as error:
        return str(error)


@pytest.mark.parametrize("first", ["gort", "sqlite3"])
@isolated()
def test_connections_belong_to_goroutines(first: str) -> None:
    """The maker may use a connection on whatever thread it runs, others may not; imported in either order."""
    program = """
import FIRST
import gort, sqlite3, sys, threading, time
from gort.runtime import gosched
from gort.sync import WaitGroup
from gort.time import sleep
def attempt(fn, *args):
    try:
        fn(*args)
    except sqlite3.ProgrammingError as error:
        return "can only be used in that same thread" in str(error)
def in_thread(*args):
    result = []
    thread = threading.Thread(target=lambda: result.append(attempt(*args)))
    thread.start(); thread.join()
    return result[0]
failures, threads = [], set()
def body():
    try:
        db = sqlite3.connect(":memory:")
        db.execute("CREATE TABLE t (n)")
        cursor = db.cursor()
        for n in range(10):
            time.sleep(0.001); sleep(0.0005)
            threads.add(threading.get_native_id())
            with db:
                cursor.execute("INSERT INTO t VALUES (?)", (n,))
            db.create_function("f", 1, lambda x: x + 1)
        assert cursor.execute("SELECT sum(f(n)) FROM t").fetchone() == (55,)
        row = cursor.execute("SELECT n FROM t")
        db.execute("CREATE TABLE b (data BLOB)")
        db.execute("INSERT INTO b VALUES (?)", (b"x" * 10,))
        blob = db.blobopen("b", "data", 1)
        uses = [lambda: db.execute("SELECT 1"), cursor.fetchone, lambda: next(row), cursor.fetchall]
        for fn in [*uses, blob.read, blob.close, db.commit, db.close]:
            assert gort.run(attempt, fn) is True
            assert in_thread(fn) is True
            assert attempt(fn) is None
        free = sqlite3.connect(":memory:", check_same_thread=False)
        assert gort.run(attempt, free.execute, "SELECT 1") is in_thread(free.execute, "SELECT 1") is None
    except BaseException as error:
        failures.append(error)
wg = WaitGroup()
for _ in range(20):
    wg.go(body)
body()
wg.wait()
assert not failures, failures
assert len(threads) > 2
import multiprocessing
lock = multiprocessing.RLock()
def holder():
    with lock:
        time.sleep(0.002); sleep(0.001)
        with lock: pass
for _ in range(10): wg.go(holder)
wg.wait()
with lock:
    assert gort.run(lock.acquire, False) is False
print("ok")
"""
    program = program.replace("FIRST", first)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ok\n", "")


@isolated()
def test_main_uses_its_connection_wherever_it_is() -> None:
    db, event = sqlite3.connect(":memory:"), threading.Event()
    moved = set()
    go(lambda: [blocked(event) for _ in range(40)])
    for _ in range(100):
        sleep(0.0003)
        moved.add(_thread.get_native_id())
        assert execute(db) == "(1,)"
    assert "created in thread id" in run(execute, db)
    assert "created in thread id" in in_thread(execute, db)


@isolated()
def test_what_gort_does_not_know_stays_as_it_was() -> None:
    """A method of another calling convention: one warning, and nothing of the table is changed."""
    program = """
import ctypes, sys, threading, _thread, _io, warnings
class Def(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("meth", ctypes.c_void_p), ("flags", ctypes.c_int)]
class Descr(ctypes.Structure):
    _fields_ = [("head", ctypes.c_void_p * 2), ("type", ctypes.c_void_p * 3), ("d", ctypes.POINTER(Def))]
def definition(type, name):
    return Descr.from_address(id(vars(type)[name])).d[0]
names = [(_thread.RLock, n) for n in ("acquire", "__enter__", "release", "__exit__", "_is_owned")]
names += [(_io.BufferedReader, n) for n in ("read", "readline")] + [(_io.BufferedRandom, "close")]
before = [definition(*n).meth for n in names]
odd = definition(_thread.RLock, "_is_owned"), definition(_io.BufferedRandom, "close")
for d in odd:
    d.flags |= 0x10000
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import gort
for d in odd:
    d.flags &= ~0x10000
print(*[w.message for w in caught], sep="\\n")
assert [definition(*n).meth for n in names] == before
lock = threading.RLock()
with lock: pass
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "gort does not know this build of CPython: _thread.RLock._is_owned has unexpected flags "
        "(0x10004); a threading.RLock belongs to a thread, and does not work if a goroutine waits while it "
        "holds one",
        "gort does not know this build of CPython: _io.BufferedRandom.close has unexpected flags "
        '(0x10004); two goroutines that use one buffered file get "reentrant call" if the first one parks '
        "inside",
    ]
