"""Signals and Ctrl-C: they reach the main goroutine, at once, wherever it is and whatever the others do."""

from __future__ import annotations

import _thread
import os
import select as system_select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import gort
from gort import _core, chan, go, runtime, select
from gort.runtime import gosched
from gort.sync import Cond, Mutex, RWMutex, WaitGroup
from gort.time import Ticker, sleep
from harness import clib, isolated, run_source
from helpers import must_recv

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
    try:
        print("ready", flush=True)
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
        for n in range(20):
            go(block)
            while len(where) == n:
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
    while count < 3:
        try:
            if not count:
                print("ready", flush=True)
            else:
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


def test_a_signal_right_before_main_falls_asleep() -> None:
    """Nothing but main is there that could look for it, and it does not end a sleep that begins after it."""
    run_source(
        """
        import signal
        from gort import chan

        def handler(*_):
            raise TimeoutError

        signal.signal(signal.SIGALRM, handler)
        try:
            chan().recv()
        except TimeoutError:
            print("handled")
        """,
        env={"LD_PRELOAD": f"{os.environ.get('LD_PRELOAD', '')} {clib('latesignal')}".strip()},
        timeout=30,
    ).check(stdout="handled")


@isolated(stdout="main\nSIGUSR1")
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
    assert all(must_recv(results) >= 0.5 for _ in range(4))
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


# -- main on another thread than the process's first one, which a goroutine blocks in C ----------


def away(occupied: float = 3600) -> None:
    """Returns when main runs on another thread."""

    def block(jobs: Any) -> None:
        jobs.recv()
        time.sleep(occupied)

    while threading.get_native_id() == os.getpid():
        jobs = [chan() for _ in range(4)]
        for each in jobs:
            go(block, each)
        sleep(0.01)
        for each in jobs:
            each.send(None)
        sleep(0.01)


def later(number: int, times: int = 1) -> None:
    """A process sends the signal."""
    code = f"import os, time\nfor _ in range({times}): time.sleep(0.3); os.kill({os.getpid()}, {int(number)})"
    os.posix_spawn(sys.executable, [sys.executable, "-Sc", code], os.environ)


class Handled(Exception):
    pass


def raises(number: int, frame: Any) -> None:
    raise Handled


def retried(number: int, frame: Any) -> None:
    """Two signals interrupt a call that goes on after the first."""
    count.append(number)
    if len(count) == 3:
        raise Handled


count: list[int] = []

CALLS: dict[str, Callable[[], Any]] = {
    "sleep": lambda: time.sleep(3600),
    "Lock": lambda: locked_of_threading().acquire(),
    "Lock with a time limit": lambda: locked_of_threading().acquire(timeout=3600),
    "read": lambda: os.read(os.pipe()[0], 1),
    "select": lambda: system_select.select([os.pipe()[0]], [], []),
    "sigwaitinfo": lambda: signal.sigwaitinfo([signal.SIGUSR2]),
    "Thread.join": lambda: sleeping_thread().join(),
}


def sleeping_thread() -> threading.Thread:
    thread = threading.Thread(target=time.sleep, args=(3600,), daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("call", CALLS)
@isolated(stdout="interrupted")
def test_signal_interrupts_main_in_c_on_another_thread(call: str) -> None:
    signal.signal(signal.SIGTERM, raises)
    away()
    try:
        later(signal.SIGTERM)
        CALLS[call]()
    except Handled:
        print("interrupted", flush=True)
    os._exit(0)


@isolated(stdout="three times")
def test_each_signal_interrupts_main_on_another_thread() -> None:
    signal.signal(signal.SIGALRM, retried)
    away()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        time.sleep(3600)
    except Handled:
        print("three times" if len(count) == 3 else count, flush=True)
    os._exit(0)


@isolated(stdout="woken")
def test_wakeup_descriptor_while_main_is_on_another_thread() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    away()
    assert signal.set_wakeup_fd(theirs) == -1
    later(signal.SIGTERM)
    assert os.read(ours, 1) == bytes([signal.SIGTERM])
    print("woken", flush=True)
    os._exit(0)


@pytest.mark.parametrize("target", ["ident of main_thread", "own ident"])
@isolated(stdout="handled")
def test_signal_to_the_thread_that_main_is_on(target: str) -> None:
    signal.signal(signal.SIGUSR1, raises)
    away()
    ident = threading.main_thread().ident if target.startswith("ident") else threading.get_ident()
    assert ident
    try:
        signal.pthread_kill(ident, signal.SIGUSR1)
        time.sleep(3600)
    except Handled:
        print("handled", flush=True)
    os._exit(0)


@isolated(stdout="handled in 1")
def test_goroutine_sends_to_its_own_thread() -> None:
    """It arrives, although the thread takes no signals of the process."""
    done = chan(1)
    signal.signal(signal.SIGUSR1, lambda number, frame: done.send(_core.goid()))

    def send() -> None:
        runtime.lock_os_thread()
        signal.raise_signal(signal.SIGUSR1)

    go(send)
    print("handled in", done.recv())


# -- masks --------------------------------------------------------------------------------------


def blocked(thread: str = "thread-self") -> set[int]:
    with open(f"/proc/{thread}/status") as status:
        mask = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk"))
    return {n for n in range(1, 65) if mask >> (n - 1) & 1}


def of_output(start: Callable[[int], int | None]) -> set[int]:
    """The mask of a child that is started with a descriptor to write its status to."""
    ours, theirs = os.pipe()
    pid = start(theirs)
    os.close(theirs)
    with open(ours) as text:
        mask = next(int(line.split()[1], 16) for line in text if line.startswith("SigBlk"))
    if pid:
        os.waitpid(pid, 0)
    return {n for n in range(1, 65) if mask >> (n - 1) & 1}


SHOW = ["/bin/cat", "/proc/self/status"]


def by_fork(fd: int) -> int:
    pid = os.fork()
    if pid == 0:
        with open("/proc/thread-self/status", "rb") as status:
            os.write(fd, status.read())
        os._exit(0)
    return pid


def by_exec(fd: int) -> int:
    pid = os.fork()
    if pid == 0:
        os.dup2(fd, 1)
        gort.run(os.execv, SHOW[0], SHOW)
    return pid


def by_thread(fd: int) -> None:
    def show() -> None:
        with open("/proc/thread-self/status", "rb") as status:
            os.write(fd, status.read())

    thread = threading.Thread(target=show)
    thread.start()
    thread.join()


def by_popen(fd: int, **options: Any) -> None:
    subprocess.run(SHOW, stdout=fd, check=True, **options)


CHILDREN: dict[str, Callable[[int], int | None]] = {
    "Popen": by_popen,
    "Popen that forks": lambda fd: by_popen(fd, preexec_fn=int),
    "fork": by_fork,
    "exec": by_exec,
    "posix_spawn": lambda fd: os.posix_spawn(
        SHOW[0], SHOW, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, fd, 1)]
    ),
    "posix_spawnp": lambda fd: os.posix_spawnp(
        "cat", SHOW, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, fd, 1)]
    ),
    "Thread": by_thread,
}


@pytest.mark.parametrize("child", CHILDREN)
@isolated(stderr=None)
def test_what_a_goroutine_starts_has_the_mask_of_the_program(child: str) -> None:
    program = {signal.SIGUSR1, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_SETMASK, program)

    def on_another_thread() -> None:
        runtime.lock_os_thread()
        assert threading.get_native_id() != os.getpid()
        assert blocked() > {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGQUIT, signal.SIGURG}
        assert not blocked() & {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGPROF}
        assert of_output(CHILDREN[child]) == program
        assert signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP]) == program
        assert of_output(CHILDREN[child]) == program | {signal.SIGHUP}
        assert signal.pthread_sigmask(signal.SIG_SETMASK, program) == program | {signal.SIGHUP}
        assert blocked() > {signal.SIGINT, signal.SIGHUP}

    gort.run(on_another_thread)
    assert blocked() == program and of_output(CHILDREN[child]) == program


@pytest.mark.parametrize("child", CHILDREN)
@isolated(stderr=None)
def test_main_takes_its_mask_along(child: str) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1})
    away(1)
    assert blocked() == {signal.SIGUSR1} == of_output(CHILDREN[child])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    assert blocked() == {signal.SIGUSR1, signal.SIGTERM} == of_output(CHILDREN[child])
    os.kill(os.getpid(), signal.SIGTERM)  # the first thread has heard of it
    assert signal.sigwait([signal.SIGTERM]) == signal.SIGTERM
    tid = threading.get_native_id()
    while threading.get_native_id() != os.getpid():
        sleep(0.01)
    assert blocked() == {signal.SIGUSR1, signal.SIGTERM}
    assert signal.SIGINT in blocked(f"self/task/{tid}")


@pytest.mark.parametrize("program", ["without goroutines", "with goroutines", "busy"])
@isolated()
def test_blocked_signal_waits_for_sigwait(program: str) -> None:
    """No thread of the runtime takes it: neither sysmon nor an M, whatever it is doing."""
    _core.set_scavenger(True, False)
    blocks = [bytearray(100000) for _ in range(300)]
    del blocks
    if program != "without goroutines":
        for _ in range(5):
            go(time.sleep, 3600)
        sleep(0.01)
    if program == "busy":
        go(busy)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    for _ in range(10):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert signal.sigpending() == {signal.SIGTERM}
        assert signal.sigwait([signal.SIGTERM]) == signal.SIGTERM
    os._exit(0)


@isolated()
def test_threads_of_the_runtime_block_signals() -> None:
    go(time.sleep, 3600)
    sleep(0.01)
    names = set()
    for tid in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{tid}/comm") as comm:
            name = comm.read().strip()
        if name.startswith("gort"):
            names.add(name)
            assert blocked(f"self/task/{tid}") > {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT}
    assert names == {"gort M", "gort sysmon"}
    os._exit(0)


# -- who is told while main waits ---------------------------------------------------------------

SENDERS: dict[str, Callable[[], None]] = {
    "os.kill": lambda: os.kill(os.getpid(), signal.SIGINT),
    "raise_signal": lambda: signal.raise_signal(signal.SIGINT),
    "interrupt_main": lambda: _thread.interrupt_main(),
    "pthread_kill": lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT),
}


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("where", ["goroutine", "thread", "timer"])
@isolated()
def test_whoever_sends_main_wakes(where: str, sender: str) -> None:
    """It is not a deadlock, although nobody else could wake main; and nobody has to look at a clock."""
    from gort.time import after_func

    start = {
        "goroutine": lambda: go(SENDERS[sender]),
        "thread": lambda: threading.Timer(0.02, SENDERS[sender]).start(),
        "timer": lambda: after_func(0.002, SENDERS[sender]),
    }[where]
    began = time.monotonic()
    for _ in range(20):
        try:
            start()  # type: ignore[no-untyped-call]
            chan().recv()
        except KeyboardInterrupt:
            continue
    assert time.monotonic() - began < 15  # and not a look once a second


@isolated(timeout=120)
def test_a_signal_on_its_way_is_no_deadlock() -> None:
    """Main falls asleep while a goroutine that nobody waits for sends; over and over."""
    for n in range(1000):
        try:
            go(os.kill, os.getpid(), signal.SIGINT)
            for _ in range(n % 7):
                gosched()
            chan().recv()
        except KeyboardInterrupt:
            continue


@isolated(stdout=OUTPUT, send=INTERRUPT)
def test_interrupt_main_that_is_locked_to_its_thread() -> None:
    runtime.lock_os_thread()
    go(sleep, 3600)
    interrupted(chan().recv)


@isolated(stdout=OUTPUT)
def test_locked_main_is_woken_by_a_thread() -> None:
    """Nothing but the call itself can tell m0, which sleeps."""
    runtime.lock_os_thread()
    threading.Timer(0.2, _thread.interrupt_main).start()
    interrupted(chan().recv)


@isolated(stdout="20")
def test_a_call_that_is_asked_for_while_main_is_parked() -> None:
    """Py_AddPendingCall: main makes it when it goes on, though nothing else makes it look."""
    import ctypes

    made = 0

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    def count(_: Any) -> int:
        nonlocal made
        made += 1
        return 0

    def ask() -> None:
        assert ctypes.pythonapi.Py_AddPendingCall(count, None) == 0
        asked.send(True)

    for i in range(20):
        asked = chan()
        go(ask)
        asked.recv()
        end = time.monotonic() + 10
        while made <= i and time.monotonic() < end:
            pass
    print(made)


ABORT = """
import os, signal
signal.signal(signal.SIGABRT, {handler})
import gort
os.kill(os.getpid(), signal.SIGABRT)
print("end")
"""


def test_abort_that_the_program_uses() -> None:
    """A handler of Python's, or SIG_IGN, that was there before gort."""
    run_source(ABORT.format(handler="lambda *args: print(args[0])")).check(stdout="6\nend", stderr="")
    run_source(ABORT.format(handler="signal.SIG_IGN")).check(stdout="end", stderr="")
