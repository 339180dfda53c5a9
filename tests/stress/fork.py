"""Random forks in the midst of goroutines, threads, locks, timers and destructors, with a seed.

    python tests/stress/fork.py [--seed N] [--seconds S]

The environment variables SEED and SECONDS do the same. The seed is printed first; the same seed makes the
same choices, though not the same interleaving. In each round goroutines and threads work on the same
channels and locks, keep objects with destructors in thread-locals, arguments and finalizers, and somebody
forks: main, a goroutine, a thread, a finalizer, a destructor at a goroutine's end, the child of a fork.
What is checked, in each child:

* who is lost is lost: no value goes to it or comes from it;
* locks: what it did not hold is free, and what it held can be unlocked and serves the child's own goroutines;
* the runtime: goroutines, timers, threads, select work, in destructors that the interpreter runs early too;
* the child ends with status 0 before a time limit.

In the parent every goroutine and thread ends, and every lock is free at the end. The exit status is 0 if all
held; otherwise the first violation is printed and the status is 1.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import secrets
import signal
import sys
import threading
import time as python_time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from gort import chan, default, go, run, runtime, select
from gort._core import Error, Sema, num_goroutine
from gort.sync import Cond, Mutex, RWMutex, WaitGroup
from gort.time import Timer, after, after_func, sleep

LIMIT = 40.0  # seconds for a child
PARENT = os.getpid()
UNITS = 2

local = threading.local()


class Violation(Exception):
    """An invariant that did not hold."""


def require(condition: object, text: str) -> None:
    if not condition:
        raise Violation(text)


class Session:
    """Waits for others when it goes, in the child of a fork too."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __del__(self) -> None:
        dice = random.Random(self.seed)
        for _ in range(dice.randrange(3)):
            match dice.randrange(5):
                case 0:
                    answer = chan()
                    go(answer.send, self.seed)
                    require(answer.recv() == self.seed, "another answer")
                case 1:
                    sleep(dice.choice([0, 1e-5, 1e-3]))
                case 2:
                    runtime.gosched()
                case 3:
                    after_func(1e-4, int)
                case 4:
                    if dice.random() < 0.3:
                        local.another = Session(dice.getrandbits(30))


class World:
    """What the goroutines and threads of a round share."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.lines, self.buffered = [chan() for _ in range(3)], chan(2)
        self.mutex, self.rw, self.sema, self.cond = Mutex(), RWMutex(), Sema(UNITS), Cond(Mutex())
        self.stop, self.wg, self.faults = chan(), WaitGroup(), list[str]()
        self.threads: list[threading.Thread] = []

    # -- what workers do -----------------------------------------------------------------------

    def pause(self, dice: random.Random) -> None:
        match dice.randrange(6):
            case 0 | 1:
                runtime.gosched()
            case 2:
                sleep(dice.choice([0, 1e-5, 1e-3]))
            case 3:
                python_time.sleep(1e-4)
            case 4:
                sum(range(dice.randrange(2000)))

    def step(self, dice: random.Random) -> bool:
        """False: the round is over."""
        match dice.randrange(13):
            case 0 | 1:
                line = dice.choice(self.lines)
                return select((line, dice.getrandbits(8)), self.stop)[0] == 0
            case 2 | 3:
                return select(dice.choice(self.lines), self.buffered, self.stop)[0] < 2
            case 4:
                select((self.buffered, 1), *self.lines, after(1e-3), default)
            case 5 | 6:
                with self.mutex:
                    self.pause(dice)
            case 7:
                with self.rw:
                    self.pause(dice)
            case 8:
                with self.rw.rlocker():
                    self.pause(dice)
            case 9:
                self.sema.acquire()
                self.pause(dice)
                self.sema.release()
            case 10:
                local.session = Session(dice.getrandbits(30))
            case 11:
                after_func(dice.uniform(0, 1e-3), self.signal)
                with self.cond.l:
                    if dice.random() < 0.5:
                        self.cond.wait()
            case 12:
                go(lambda session: self.pause(random.Random(session.seed)), Session(dice.getrandbits(30)))
        self.pause(dice)
        return True

    def signal(self) -> None:
        with self.cond.l:
            self.cond.broadcast()

    def work(self, seed: int) -> None:
        dice = random.Random(seed)
        try:
            if dice.random() < 0.5:
                local.session = Session(dice.getrandbits(30))
            if dice.random() < 0.05 and num_goroutine() > 1:
                runtime.lock_os_thread()
            while self.step(dice) and select(self.stop, default)[0] == 1:
                pass
        except BaseException:
            self.faults.append(traceback.format_exc())
        finally:
            self.wg.done()

    # -- forks -----------------------------------------------------------------------------------

    def fork(self, seed: int, depth: int = 0) -> None:
        pid = os.fork()
        if pid == 0:
            status = 3
            try:
                self.child(random.Random(seed), depth)
                status = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        end = python_time.monotonic() + LIMIT
        while True:
            done, code = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            if python_time.monotonic() > end:
                os.kill(pid, signal.SIGABRT)
                self.faults.append("a child hangs")
                os.waitpid(pid, 0)
                return
            python_time.sleep(1e-3)
        if code:
            self.faults.append(f"a child ended with {os.waitstatus_to_exitcode(code)}")

    def fork_somewhere(self, where: str, seed: int) -> None:
        done = chan(1)

        def fork(*unused: Any) -> None:
            try:
                self.fork(seed)
            finally:
                done.send(1)

        class Last:
            def __del__(self) -> None:
                fork()

        match where:
            case "main":
                self.fork(seed)
                return
            case "goroutine":
                go(fork)
            case "locked":
                go(lambda: (runtime.lock_os_thread(), fork()))
            case "thread":
                threading.Thread(target=fork, daemon=True).start()
            case "finalizer":
                runtime.set_finalizer(Session(seed), fork)
            case "destructor":
                go(lambda last: None, Last())
            case "local":
                go(lambda: setattr(local, "last", Last()))
            case "timer":
                after_func(1e-4, fork)
        require(select(done, after(2 * LIMIT))[0] == 0, f"the fork in a {where} does not return")

    def child(self, dice: random.Random, depth: int) -> None:
        for line in self.lines:
            require(select((line, 0), default)[0] == 1, "a lost receiver received")
            require(select(line, default)[0] == 1, "a lost sender sent")
        self.use_locks(dice)
        crowd, out = WaitGroup(), list[int]()
        size = dice.randrange(1, 40)
        for i in range(size):
            crowd.go(lambda i, session: out.append(i), i, Session(dice.getrandbits(30)))
        if dice.random() < 0.5:
            threads = [threading.Thread(target=self.own, args=(dice.getrandbits(30),)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        crowd.wait()
        require(sorted(out) == list(range(size)), "goroutines were lost")
        self.own(dice.getrandbits(30))
        require(Timer(1e-3).c.recv() is not None, "a timer did not fire")
        if depth < 2 and dice.random() < 0.2:
            for _ in range(3):
                go(self.work, dice.getrandbits(30))
            self.wg.add(3)
            sleep(1e-3)
            world = run(lambda: self.fork(dice.getrandbits(30), depth + 1))
            require(world is None and not self.faults, "\n".join(self.faults))

    def own(self, seed: int) -> None:
        """Lines of its own, to those of the child alone."""
        ch = chan()
        go(lambda: [ch.send(i) for i in range(5)])
        require([ch.recv() for _ in range(5)] == list(range(5)), "values came in another order")
        line = self.lines[seed % len(self.lines)]
        go(line.send, seed)
        require(select(line, after(LIMIT / 2))[0] == 0, "nobody received in the child")

    def use_locks(self, dice: random.Random) -> None:
        """Undoes what lost ones held; then the child's own goroutines get through."""
        if not self.mutex.try_lock():
            pass  # of a lost one, and so is the one of the Cond
        self.mutex.unlock()
        self.cond.l.try_lock()
        self.cond.l.unlock()
        for _ in range(1000):
            if self.rw.try_lock():
                self.rw.unlock()
                break
            try:
                if self.rw.try_rlock():
                    self.rw.runlock()
                    self.rw.runlock()
                else:
                    self.rw.unlock()
            except Error as error:
                raise Violation("a lock is neither free nor held") from error
        else:
            raise Violation("a RWMutex does not get free")
        units = 0
        while self.sema.try_acquire():
            units += 1
        require(units <= UNITS, f"{units} units of {UNITS}")
        for _ in range(UNITS):
            self.sema.release()
        own = WaitGroup()

        def use(seed: int) -> None:
            dice = random.Random(seed)
            for _ in range(3):
                match dice.randrange(4):
                    case 0:
                        with self.mutex:
                            self.pause(dice)
                    case 1:
                        with self.rw:
                            self.pause(dice)
                    case 2:
                        with self.rw.rlocker():
                            self.pause(dice)
                    case 3:
                        self.sema.acquire()
                        self.pause(dice)
                        self.sema.release()

        for _ in range(8):
            own.go(use, dice.getrandbits(30))
        waiting = WaitGroup()

        def wait() -> None:
            with self.cond.l:
                waiting.done()
                self.cond.wait()

        waiting.add(1)
        own.go(wait)
        waiting.wait()
        with self.cond.l:
            self.cond.signal()
        own.wait()

    # -- the round -----------------------------------------------------------------------------------

    def play(self) -> int:
        dice = self.dice
        for _ in range(dice.randrange(2, 30)):
            self.wg.add(1)
            go(self.work, dice.getrandbits(30))
        for _ in range(dice.randrange(5)):
            self.wg.add(1)
            thread = threading.Thread(target=self.work, args=(dice.getrandbits(30),), daemon=True)
            self.threads.append(thread)
            thread.start()
        for _ in range(dice.randrange(200)):
            go(int)
        forks = dice.randrange(1, 5)
        places = ("main", "goroutine", "locked", "thread", "finalizer", "destructor", "local", "timer")
        for _ in range(forks):
            sleep(dice.uniform(0, 2e-3))
            self.fork_somewhere(dice.choice(places), dice.getrandbits(30))
            require(not self.faults, "\n".join(self.faults))
        self.stop.close()
        ended = chan()
        go(lambda: (self.wg.wait(), ended.close()))
        while select(ended, after(1e-3))[0] == 1:  # a worker may wait for a wake-up that came too early
            self.signal()
        for thread in self.threads:
            thread.join()
        require(not self.faults, "\n".join(self.faults))
        require(self.mutex.try_lock() and self.rw.try_lock(), "a lock was left locked")
        return forks


def watch(work: Callable[[], int]) -> int:
    try:
        return work()
    except Violation as violation:
        print(f"violation: {violation}", flush=True)
    except Exception:
        traceback.print_exc()
    os._exit(1)  # others may wait for ever by now


def ignored(what: Any) -> None:
    """A destructor raised."""
    traceback.print_exception(what.exc_value)
    print(f"violation in {what.object!r}", flush=True)
    os._exit(4)


def main() -> None:
    parser = argparse.ArgumentParser(description="Random forks in the midst of everything.")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or secrets.randbits(32)))
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS") or 10))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:g} s", flush=True)
    warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)  # with threads: that is what is tested
    sys.unraisablehook = ignored
    dice = random.Random(options.seed)
    end = python_time.monotonic() + options.seconds
    rounds, forks = 0, 0
    while python_time.monotonic() < end:
        forks += watch(World(random.Random(dice.getrandbits(40))).play)
        rounds += 1
        gc.collect()
    print(f"{rounds} rounds, {forks} forks", flush=True)
    os._exit(0)  # the last destructors would find that the program has ended


if __name__ == "__main__":
    main()
