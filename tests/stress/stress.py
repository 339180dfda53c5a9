"""Random operations of all kinds at once, with a seed, and invariants that must hold throughout.

    python tests/stress/stress.py [--seed N] [--seconds S] [--tasks N]

The environment variables SEED, SECONDS and TASKS do the same. The seed is printed first; the same seed
makes the same choices, though not the same interleaving. What is checked:

* conservation: each value sent on a channel is received exactly once, or is in a closed channel's rest;
* order: what one sender sent on a channel arrives at one receiver in the order of sending;
* exclusion: never two in a mutex, never a writer beside anybody in a read-write mutex;
* accounting: every task that was started ends, each ends once, and no goroutine is left over;
* ends: each destructor of what a goroutine owned runs once, and may wait for others;
* forks: the child of a fork at any moment goes on with goroutines of its own, and ends as it means to;
* memory: what the process holds stays flat from round to round.

The exit status is 0 if all held. Otherwise the first violation is printed with the seed, and the status is 1;
a hang is left to the caller's time limit.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import hashlib
import os
import random
import secrets
import signal
import sys
import threading
import time as python_time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gort import Chan, chan, default, go, run, select
from gort._core import goid
from gort.runtime import (
    Error,
    goexit,
    gomaxprocs,
    gosched,
    lock_os_thread,
    num_goroutine,
    unlock_os_thread,
)
from gort.sync import Cond, Mutex, Once, RWMutex, WaitGroup
from gort.time import Ticker, Timer, after, after_func, sleep

libc = ctypes.CDLL(None)
libc_holding = ctypes.PyDLL(None)

# How far the memory that is held may grow after the first quarter of the run.
MEMORY_BOUND = 64 << 20


class Violation(Exception):
    """An invariant that did not hold."""


def require(condition: object, text: str) -> None:
    if not condition:
        raise Violation(text)


class Line:
    """A channel with its accounts: what was sent and received by whom."""

    def __init__(self, capacity: int) -> None:
        self.ch: Chan[tuple[int, int]] = chan(capacity)
        self.next = 0  # the number of the next value: counted up before it is sent
        self.sent: set[int] = set()
        self.received: set[int] = set()
        # The last value by (receiver, sender).
        self.last: dict[tuple[int, int], int] = {}

    def value(self, sender: int) -> tuple[int, int]:
        self.next += 1
        return sender, self.next

    def note_sent(self, value: tuple[int, int]) -> None:
        require(value[1] not in self.sent, f"value {value} counted as sent twice")
        self.sent.add(value[1])

    def note_received(self, value: tuple[int, int], receiver: int) -> None:
        sender, number = value
        require(number not in self.received, f"value {value} was received twice")
        self.received.add(number)
        before = self.last.get((receiver, sender), 0)
        require(before < number, f"receiver {receiver} got {number} of sender {sender} after {before}")
        self.last[receiver, sender] = number

    def drain(self) -> None:
        """Closes the channel and takes what is left in it."""
        self.ch.close()
        for value in self.ch:
            self.note_received(value, 0)
        require(
            self.sent == self.received,
            f"sent and not received: {sorted(self.sent - self.received)[:5]}, "
            f"received and not sent: {sorted(self.received - self.sent)[:5]}",
        )


class Owned:
    """Something that a goroutine owns. Its destructor waits for others before it says that it ran."""

    local = threading.local()

    def __init__(self, pause: Callable[[], Any], gone: Chan[None]) -> None:
        self.pause, self.gone = pause, gone
        self.process = os.getpid()

    def __call__(self) -> None:
        self.pause()

    def __del__(self) -> None:
        if os.getpid() == self.process:  # else in the child of a fork, where nobody waits for it
            self.pause()
            self.gone.send(None)


class Guarded:
    """A lock of some kind and who is inside."""

    def __init__(self) -> None:
        self.lock: Any = None
        self.readers = 0
        self.writers = 0
        self.writes = 0
        self.expected = 0

    def write(self, pause: Callable[[], Any]) -> None:
        self.expected += 1
        self.writers += 1
        require(
            (self.readers, self.writers) == (0, 1), f"{self.readers} readers beside {self.writers} writers"
        )
        writes = self.writes
        pause()
        require((self.readers, self.writers) == (0, 1), "somebody entered a held lock")
        self.writes = writes + 1
        self.writers -= 1

    def read(self, pause: Callable[[], Any]) -> None:
        self.readers += 1
        writes = self.writes
        pause()
        require(self.writers == 0 and self.writes == writes, "a writer entered beside a reader")
        self.readers -= 1


class Round:
    """One round: some lines and locks, and tasks that do random things with them."""

    def __init__(self, seed: int, tasks: int) -> None:
        self.rng = random.Random(seed)
        self.lines = [Line(self.rng.choice([0, 0, 1, 2, 5, 50])) for _ in range(4)]
        self.mutex, self.rwmutex = Guarded(), Guarded()
        self.mutex.lock, self.rwmutex.lock = Mutex(), RWMutex()
        self.rlock = Guarded()
        self.rlock.lock = threading.RLock()
        self.cond, self.turns = Cond(Mutex()), 0
        self.wg = WaitGroup()
        self.tasks = tasks
        self.started = 0
        self.ended = 0
        self.lost: list[BaseException] = []
        # Receivers for whoever sends while nobody else does, and senders of nothing but comfort.
        self.stop = chan()

    # -- tasks --------------------------------------------------------------------------------

    def start(self, task: Callable[..., Any], *args: Any) -> None:
        """Starts a task as a goroutine or, now and then, in a thread."""
        self.started += 1
        self.wg.add(1)
        if self.rng.random() < 0.03:
            threading.Thread(target=self.guard, args=(task, *args)).start()
        elif self.rng.random() < 0.1:
            after_func(self.rng.uniform(0, 0.002), lambda: self.guard(task, *args))
        else:
            go(self.guard, task, *args)

    def guard(self, task: Callable[..., Any], *args: Any) -> None:
        try:
            task(*args)
        except Exception as error:
            self.lost.append(error)
        finally:
            self.ended += 1
            self.wg.done()

    def drainer(self, line: Line, me: int) -> None:
        """Receives from a line until the round stops, so that no sender waits for ever."""
        while True:
            index, value, ok = select(line.ch, self.stop)
            if index == 1 or not ok:
                return
            line.note_received(value, me)

    def filler(self, line: Line, me: int) -> None:
        """Sends on a line until the round stops, so that no receiver waits for ever."""
        while True:
            value = line.value(me)
            if select((line.ch, value), self.stop)[0] == 1:
                return
            line.note_sent(value)
            sleep(0.001)

    def worker(self, seed: int, depth: int) -> None:
        rng = random.Random(seed)
        me = seed
        for _ in range(rng.randrange(5, 40)):
            getattr(self, rng.choice(OPERATIONS))(rng, me, depth)
        if rng.random() < 0.05 and goid() != 0:
            goexit()

    # -- pauses inside locks, generators, callbacks -------------------------------------------

    def pause(self, rng: random.Random) -> Callable[[], Any]:
        """Something to do while holding a lock."""
        return rng.choice(
            [
                gosched,
                lambda: None,
                lambda: sleep(0),
                lambda: sleep(1e-5),
                lambda: libc.usleep(rng.randrange(50)),
                lambda: python_time.sleep(1e-5),
                lambda: sum(range(rng.randrange(200))),
            ]
        )

    # -- operations: each takes the task's random numbers, its number and its depth -------------

    def op_send(self, rng: random.Random, me: int, depth: int) -> None:
        line = rng.choice(self.lines)
        value = line.value(me)
        line.ch.send(value)
        line.note_sent(value)

    def op_receive(self, rng: random.Random, me: int, depth: int) -> None:
        line = rng.choice(self.lines)
        if rng.random() < 0.5:
            value, ok = line.ch.recv_ok()
            require(ok, "a channel was closed before its round's end")
        else:
            value = line.ch.recv()
        assert value is not None
        line.note_received(value, me)

    def op_select(self, rng: random.Random, me: int, depth: int) -> None:
        lines = [rng.choice(self.lines) for _ in range(rng.randrange(1, 5))]
        cases: list[Any] = []
        for line in lines:
            kind = rng.random()
            cases.append(line.ch if kind < 0.4 else (line.ch, line.value(me)) if kind < 0.9 else None)
        timeout = after(rng.uniform(0, 0.002))
        cases.append(default if rng.random() < 0.3 else timeout)
        index, value, ok = select(*cases)
        if index == len(lines):
            return
        require(ok and cases[index] is not None, "a nil or closed case was chosen")
        if isinstance(cases[index], tuple):
            lines[index].note_sent(cases[index][1])
        else:
            lines[index].note_received(value, me)

    def op_mutex(self, rng: random.Random, me: int, depth: int) -> None:
        guarded = self.mutex
        if rng.random() < 0.2:
            if not guarded.lock.try_lock():
                return
        else:
            guarded.lock.lock()
        try:
            guarded.write(self.pause(rng))
        finally:
            guarded.lock.unlock()

    def op_rwmutex(self, rng: random.Random, me: int, depth: int) -> None:
        guarded = self.rwmutex
        if rng.random() < 0.3:
            with guarded.lock:
                guarded.write(self.pause(rng))
        elif rng.random() < 0.2:
            if guarded.lock.try_rlock():
                try:
                    guarded.read(self.pause(rng))
                finally:
                    guarded.lock.runlock()
        else:
            guarded.lock.rlock()
            try:
                guarded.read(self.pause(rng))
            finally:
                guarded.lock.runlock()

    def op_cond(self, rng: random.Random, me: int, depth: int) -> None:
        """Waits for a turn that a timer grants, so that nobody waits for ever."""

        def grant() -> None:
            with self.cond.l:
                self.turns += 1
                self.cond.signal()

        after_func(rng.uniform(0, 0.001), grant)
        with self.cond.l:
            while self.turns == 0:
                self.cond.wait()
            self.turns -= 1

    def op_wait_group(self, rng: random.Random, me: int, depth: int) -> None:
        wg, count = WaitGroup(), [0]

        def body() -> None:
            self.pause(rng)()
            count[0] += 1

        n = rng.randrange(1, 6)
        for _ in range(n):
            wg.go(body)
        wg.wait()
        require(count[0] == n, f"WaitGroup.wait returned after {count[0]} of {n}")

    def op_spawn(self, rng: random.Random, me: int, depth: int) -> None:
        if depth < 3:
            self.start(self.worker, rng.getrandbits(40), depth + 1)

    def op_run(self, rng: random.Random, me: int, depth: int) -> None:
        n = rng.randrange(100)
        require(run(lambda: (gosched(), n + 1)[1]) == n + 1, "run gave another result")

    def op_sleep(self, rng: random.Random, me: int, depth: int) -> None:
        sleep(rng.uniform(0, 0.001))

    def op_yield(self, rng: random.Random, me: int, depth: int) -> None:
        for _ in range(rng.randrange(10)):
            gosched()

    def op_timer(self, rng: random.Random, me: int, depth: int) -> None:
        timer = Timer(rng.uniform(0, 0.001))
        match rng.randrange(4):
            case 0:
                timer.c.recv()
            case 1:
                self.pause(rng)()
                timer.stop()
                require(select(timer.c, default)[0] == 1, "a stopped timer fired")
            case 2:
                timer.reset(rng.uniform(0, 0.001))
                timer.c.recv()
            case 3:
                ticker = Ticker(rng.uniform(1e-4, 1e-3))
                for _ in range(rng.randrange(3)):
                    ticker.c.recv()
                ticker.stop()

    def op_own_channel(self, rng: random.Random, me: int, depth: int) -> None:
        """A channel of its own with a producer, closed at the end: all must arrive in order."""
        n, ch = rng.randrange(20), chan(rng.choice([0, 1, 10]))

        def produce() -> None:
            for i in range(n):
                ch.send(i)
            ch.close()

        go(produce)
        require(list(ch) == list(range(n)), "a producer's values did not arrive in order")
        try:
            ch.send(1)
        except Error:
            pass
        else:
            raise Violation("a send on a closed channel went through")

    def op_blocking_call(self, rng: random.Random, me: int, depth: int) -> None:
        rng.choice([libc, libc, libc, libc_holding]).usleep(rng.randrange(300))

    def op_pipe(self, rng: random.Random, me: int, depth: int) -> None:
        r, w = os.pipe()
        go(lambda: (self.pause(random.Random(me))(), os.write(w, b"x")))
        require(os.read(r, 1) == b"x", "a pipe gave something else")
        os.close(r)
        os.close(w)

    def op_hash(self, rng: random.Random, me: int, depth: int) -> None:
        data = bytes([me & 255]) * rng.randrange(4000, 100_000)
        require(
            hashlib.sha256(data).digest() == hashlib.sha256(bytes(bytearray(data))).digest(), "hashes differ"
        )

    def op_compute(self, rng: random.Random, me: int, depth: int) -> None:
        n = rng.randrange(3000)
        require(sum(i for i in range(n)) == n * (n - 1) // 2, "a sum went wrong")

    def op_exception(self, rng: random.Random, me: int, depth: int) -> None:
        n = rng.randrange(1000)
        try:
            try:
                raise ValueError(n)
            except ValueError as first:
                self.pause(rng)()
                require(sys.exc_info()[1] is first, "another goroutine's exception is being handled")
                raise KeyError(n) from first
        except KeyError as error:
            self.pause(rng)()
            require(
                error.args == (n,) and isinstance(error.__cause__, ValueError), "exceptions were mixed up"
            )

    def op_generator(self, rng: random.Random, me: int, depth: int) -> None:
        def numbers(n: int) -> Iterator[int]:
            try:
                for i in range(n):
                    self.pause(rng)()
                    yield i
            finally:
                gosched()

        n = rng.randrange(6)
        if rng.random() < 0.8:
            require(list(numbers(n)) == list(range(n)), "a generator gave other values")
        else:
            next(numbers(n), None)

    def op_callback(self, rng: random.Random, me: int, depth: int) -> None:
        values = [rng.randrange(100) for _ in range(8)]
        pause = self.pause(rng)
        require(sorted(values, key=lambda v: (pause(), v)[1]) == sorted(values), "a sort went wrong")

    def op_recursion(self, rng: random.Random, me: int, depth: int) -> None:
        pause = self.pause(rng)

        def dive(n: int) -> int:
            if n == 0:
                pause()
                return 0
            return 1 + dive(n - 1)

        n = rng.randrange(1, 150)
        require(dive(n) == n, "a recursion lost count")

    def op_collect(self, rng: random.Random, me: int, depth: int) -> None:
        cycle: list[Any] = [chan(1)]
        cycle[0].send(cycle)
        cycle.append(cycle)
        del cycle
        if rng.random() < 0.02:
            gc.collect(rng.randrange(3))

    def op_lock_thread(self, rng: random.Random, me: int, depth: int) -> None:
        lock_os_thread()
        ident = threading.get_native_id()
        for _ in range(rng.randrange(4)):
            self.pause(rng)()
            require(threading.get_native_id() == ident, "a locked goroutine changed its thread")
        unlock_os_thread()

    def op_gomaxprocs(self, rng: random.Random, me: int, depth: int) -> None:
        if rng.random() < 0.1:
            gomaxprocs(rng.randrange(1, 6))

    def op_once(self, rng: random.Random, me: int, depth: int) -> None:
        once, count, wg = Once(), [0], WaitGroup()
        pause = self.pause(rng)

        def body() -> None:
            pause()
            count[0] += 1

        for _ in range(3):
            wg.go(once.do, body)
        once.do(body)
        require(count[0] == 1, "Once ran twice, or returned too early")
        wg.wait()

    def op_child_goexit(self, rng: random.Random, me: int, depth: int) -> None:
        done = chan()
        pause = self.pause(rng)

        def child() -> None:
            try:
                pause()
                goexit()
            finally:
                pause()
                done.close()

        go(child)
        done.recv()

    def op_destructor(self, rng: random.Random, me: int, depth: int) -> None:
        """What a goroutine owned: its function, arguments, closure, and locals of its thread."""
        gone: Chan[None] = chan(rng.choice([0, 0, 1, 5]))
        pauses = [self.pause(rng) for _ in range(5)]
        leave = rng.random() < 0.3

        def child(first: Owned, *, second: Owned, third: list[Owned]) -> None:
            Owned.local.owned = third.pop()
            pauses[4]()
            if leave:
                goexit()

        third = [Owned(pauses[2], gone)]
        go(child, Owned(pauses[0], gone), second=Owned(pauses[1], gone), third=third)
        go(Owned(pauses[3], gone))
        for _ in range(4):
            require(select(gone, after(60))[0] == 0, "a destructor did not come to its end")

    def op_rlock(self, rng: random.Random, me: int, depth: int) -> None:
        guarded = self.rlock
        with guarded.lock, guarded.lock:
            guarded.write(self.pause(rng))

    def op_thread(self, rng: random.Random, me: int, depth: int) -> None:
        """A thread that talks to a goroutine, and to nobody any more when it has ended."""
        if rng.random() < 0.9:
            return
        there, back = chan(rng.choice([0, 1])), chan(rng.choice([0, 1]))

        def echo() -> None:
            for value in there:
                back.send(value)
            back.close()

        thread = threading.Thread(target=echo)
        thread.start()
        for i in range(rng.randrange(10)):
            there.send(i)
            require(back.recv() == i, "a thread gave another answer")
        there.close()
        require(back.recv_ok() == (None, False), "a thread said more than it was asked")
        thread.join()

    def op_fork(self, rng: random.Random, me: int, depth: int) -> None:
        """A child that works with goroutines of its own, whatever the others were doing just then."""
        if rng.random() < 0.98:
            return
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(60)
                group, out = WaitGroup(), chan(rng.randrange(3))
                for i in range(20):
                    group.go(out.send, i)
                received = [out.recv() for _ in range(20)]
                group.wait()
                for guarded in (self.mutex, self.rwmutex):
                    if guarded.writers == guarded.readers == 0 and guarded.lock.try_lock():
                        guarded.lock.unlock()
                sleep(1e-4)
                status = 0 if set(received) == set(range(20)) else 2
            finally:
                os._exit(status)
        status = outcome(pid)
        require(status == 0, f"the child of a fork ended with {status}")

    # -- the round ------------------------------------------------------------------------------

    def play(self) -> None:
        for i, line in enumerate(self.lines):
            self.start(self.drainer, line, -1 - i)
            self.start(self.filler, line, -100 - i)
        helpers = self.started
        for _ in range(self.tasks):
            self.start(self.worker, self.rng.getrandbits(40), 0)
            if self.rng.random() < 0.1:
                gosched()
        while self.ended < self.started - helpers and not self.lost:
            sleep(0.002)
        if self.lost:
            raise self.lost[0]
        self.stop.close()
        self.wg.wait()
        if self.lost:
            raise self.lost[0]
        require(self.started == self.ended, f"{self.started} tasks were started, {self.ended} ended")
        for line in self.lines:
            line.drain()
        for guarded in (self.mutex, self.rwmutex, self.rlock):
            require(
                guarded.writes == guarded.expected, f"{guarded.expected} writes, {guarded.writes} counted"
            )
        for guarded in (self.mutex, self.rwmutex):
            require(guarded.lock.try_lock(), "a lock was left locked")
        require(self.rlock.lock.acquire(blocking=False), "a threading.RLock was left locked")


OPERATIONS = [name for name in vars(Round) if name.startswith("op_")]


def outcome(pid: int) -> int:
    """The exit status of a child.

    The AddressSanitizer of older compilers does not mind forks: if a thread that the child lacks had the lock
    of its allocator, the child waits for that in malloc(), for ever. One that is seen to do so is killed, and
    counts as one that was never there.
    """
    if not hasattr(libc, "__asan_get_shadow_mapping"):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    patience = python_time.monotonic() + 30
    while (done := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if python_time.monotonic() > patience and waits_for_the_sanitizer(pid):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return 0
        sleep(0.01)
    return os.waitstatus_to_exitcode(done[1])


def waits_for_the_sanitizer(pid: int) -> bool:
    """Is the process in a futex of the sanitizer's allocator? Its locks lie right behind its space."""
    words = Path(f"/proc/{pid}/syscall").read_text().split()
    return words[0] == "202" and 0x6000_0000_0000 <= int(words[1], 16) < 0x6400_0100_0000


def held() -> int:
    """Bytes of memory that the process holds: the resident set, without AddressSanitizer's own.

    The sanitizer's allocator does not reuse a freed block at once. The block waits in a quarantine: at first
    in that of the thread that freed it, of up to 1 MiB, then in the one that all threads share. Until those
    of a hundred threads are full, which takes minutes, the allocator's memory grows, and its shadow with it,
    though nothing leaks. Both are left out here. What is allocated and not freed, the sanitizer counts to the
    byte, and that is added, so that a leak shows as it does elsewhere. What gort maps itself, such as stacks
    and its heap, lies outside of both, in the resident set. So do the sanitizer's notes on each thread that
    there ever was, some 200 bytes, which are few enough to be left in.
    """
    if not hasattr(libc, "__asan_get_shadow_mapping"):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    scale, shadow = ctypes.c_size_t(), ctypes.c_size_t()
    libc_holding["__asan_get_shadow_mapping"](ctypes.byref(scale), ctypes.byref(shadow))
    malloc, free = libc_holding["malloc"], libc_holding["free"]
    malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    block = malloc(1)
    free(block)
    allocated = libc_holding["__sanitizer_get_current_allocated_bytes"]
    allocated.restype = ctypes.c_size_t
    # Each of the two is one run of mappings without a gap.
    return int(allocated()) + sum(
        size for low, high, size in runs() if not low <= shadow.value < high and not low <= block < high
    )


def runs() -> list[tuple[int, int, int]]:
    """Begin, end and resident bytes of the process's mappings, with adjacent ones taken as one."""
    found: list[tuple[int, int, int]] = []
    for line in Path("/proc/self/smaps").read_text().splitlines():
        key, value, *_ = line.split()
        if not key.endswith(":"):
            low, high = (int(address, 16) for address in key.split("-"))
            if found and found[-1][1] == low:
                found[-1] = found[-1][0], high, found[-1][2]
            else:
                found.append((low, high, 0))
        elif key == "Rss:":
            found[-1] = *found[-1][:2], found[-1][2] + (int(value) << 10)
    return found


def settle(before: int) -> None:
    """Waits until the round's goroutines have ended."""
    deadline = python_time.monotonic() + 30
    while num_goroutine() > before:
        require(python_time.monotonic() < deadline, f"{num_goroutine() - before} goroutines were left over")
        sleep(0.001)


def main() -> int:
    parser = argparse.ArgumentParser(description="Random operations of all kinds at once.")
    parser.add_argument("--seed", type=int, default=os.environ.get("SEED") or secrets.randbits(32))
    parser.add_argument("--seconds", type=float, default=os.environ.get("SECONDS") or 5)
    parser.add_argument("--tasks", type=int, default=os.environ.get("TASKS") or 100)
    options = parser.parse_args()
    # 3.12 and later warn of forks beside threads, which is what is tried here.
    warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
    seed, seconds, tasks = options.seed, options.seconds, options.tasks
    print(f"seed {seed}, {seconds:g} s, {tasks} tasks", flush=True)

    rng = random.Random(seed)
    begin = python_time.monotonic()
    procs, goroutines = gomaxprocs(0), num_goroutine()
    rounds, steps, settled = 0, 0, 0
    try:
        while (elapsed := python_time.monotonic() - begin) < seconds:
            round_ = Round(rng.getrandbits(40), tasks)
            round_.play()
            settle(goroutines)
            rounds, steps = rounds + 1, steps + round_.started
            del round_
            gc.collect()
            if elapsed < seconds / 4:
                settled = max(settled, held())
            else:
                grown = held() - settled
                require(settled == 0 or grown < MEMORY_BOUND, f"{grown} bytes more than before")
    except Exception as error:
        traceback.print_exception(error)
        print(f"seed {seed}, round {rounds}: {error}", flush=True)
        # The others may be parked for ever by now: no orderly end.
        os._exit(1)
    gomaxprocs(procs)
    print(f"{rounds} rounds, {steps} tasks, {held() >> 20} MiB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
