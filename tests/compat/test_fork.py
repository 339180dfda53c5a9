"""fork, subprocess and multiprocessing, from main, goroutines and threads, with many goroutines alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import gort
from gort import chan, go, select
from gort.runtime import gomaxprocs, gosched, num_goroutine
from gort.sync import Mutex, WaitGroup
from gort.time import after, after_func, sleep
from harness import isolated, run_source
from helpers import must_recv

CROWD = 1000


def in_main(fn: Callable[[], Any]) -> None:
    fn()


def in_goroutine(fn: Callable[[], Any]) -> None:
    gort.run(fn)


def in_thread(fn: Callable[[], Any]) -> None:
    errors = []

    def body() -> None:
        try:
            fn()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


PLACES = {"main": in_main, "goroutine": in_goroutine, "thread": in_thread}


class Crowd:
    """Goroutines in all kinds of waits, which must all get through what the test does meanwhile."""

    def __init__(self, size: int = CROWD) -> None:
        self.gate, self.wg, self.ended = chan(), WaitGroup(), [0]
        for n in range(size):
            self.wg.go(self.member, n)
        sleep(0.002)

    def member(self, n: int) -> None:
        if n % 100 == 0:
            time.sleep(0.05)
        elif n % 10 == 0:
            sleep(0.05)
        self.gate.recv()
        self.ended[0] += 1

    def check(self) -> None:
        self.gate.close()
        self.wg.wait()
        assert self.ended[0] >= 1
        sleep(0.001)


def use_everything() -> None:
    """Exercises the runtime: what a child of fork must be able to do."""
    ch = chan()
    go(ch.send, 1)
    assert ch.recv() == 1
    sleep(0.001)
    assert select(chan(), after(0.001))[0] == 1
    after_func(0.001, lambda: ch.send(2))
    assert ch.recv() == 2
    wg, mu, total = WaitGroup(), Mutex(), [0]

    def add() -> None:
        gosched()
        time.sleep(0.001)
        with mu:
            total[0] += 1

    for _ in range(50):
        wg.go(add)
    wg.wait()
    assert total[0] == 50
    stop = [False]
    go(stop.__setitem__, 0, True)
    while not stop[0]:
        pass
    thread = threading.Thread(target=lambda: ch.send(3))
    thread.start()
    assert ch.recv() == 3
    thread.join()


def child_of_fork(body: Callable[[], Any]) -> None:
    """Runs body in a forked child and checks that the child ended well."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("place", PLACES)
@isolated()
def test_fork(place: str) -> None:
    crowd = Crowd()

    def body() -> None:
        assert num_goroutine() <= 2, num_goroutine()
        use_everything()

    PLACES[place](lambda: child_of_fork(body))
    use_everything()
    crowd.check()


@isolated()
def test_fork_again_and_again() -> None:
    crowd = Crowd(100)
    for _ in range(10):
        gort.run(child_of_fork, use_everything)
    crowd.check()


@isolated()
def test_fork_in_a_forked_child() -> None:
    gort.run(child_of_fork, lambda: gort.run(child_of_fork, use_everything))


@isolated()
def test_forks_at_once_from_many_goroutines() -> None:
    crowd, wg = Crowd(200), WaitGroup()
    for _ in range(20):
        wg.go(child_of_fork, lambda: (sleep(0.001), use_everything()))
    wg.wait()
    crowd.check()


@isolated()
def test_fork_while_others_compute_and_block() -> None:
    stop = [False]

    def spin() -> None:
        while not stop[0]:
            sum(range(100))

    wg = WaitGroup()
    for _ in range(2):
        wg.go(spin)
    for _ in range(4):
        wg.go(time.sleep, 0.3)
    sleep(0.01)
    for _ in range(3):
        gort.run(child_of_fork, use_everything)
    stop[0] = True
    wg.wait()


@isolated()
def test_values_in_flight_survive_in_both() -> None:
    ch, full = chan(), chan(2)
    full.send("a")
    full.send("b")
    go(ch.send, "parked sender")
    go(full.send, "c")
    sleep(0.002)

    def body() -> None:
        assert [full.recv(), full.recv()] == ["a", "b"]
        go(ch.send, "child's")
        ch.recv()

    gort.run(child_of_fork, body)
    assert ch.recv() == "parked sender"
    assert [full.recv() for _ in range(3)] == ["a", "b", "c"]


@pytest.mark.parametrize("place", ["main", "goroutine"])
@isolated(stdout="child\natexit of 0\nstatus 3\natexit of 1\n")
def test_child_that_ends_by_itself(place: str) -> None:
    """A child may end by SystemExit too: its atexit handlers run, its status is right."""
    import atexit

    parent = os.getpid()
    atexit.register(lambda: print("atexit of", int(os.getpid() == parent)))
    crowd = Crowd(100)

    def body() -> None:
        pid = os.fork()
        if pid == 0:
            print("child")
            sys.exit(3)
        print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    PLACES[place](body)
    crowd.check()


@isolated(
    stderr="fatal error: all goroutines are asleep - deadlock!\n...\ngoroutine ... [chan receive]:\n..."
)
def test_deadlock_in_the_child() -> None:
    """The parked goroutines of the parent are not there in the child: it is deadlocked, the parent is not."""
    crowd = Crowd(10)

    def body() -> None:
        pid = os.fork()
        if pid == 0:
            chan().recv()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2

    gort.run(body)
    crowd.check()


@isolated()
def test_signals_in_the_child() -> None:
    def body() -> None:
        signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
        os.kill(os.getpid(), signal.SIGUSR1)
        while not seen:
            sleep(0.001)

    seen: list[int] = []
    child_of_fork(body)
    assert not seen


@isolated()
def test_gomaxprocs_in_the_child() -> None:
    gomaxprocs(3)

    def body() -> None:
        assert gomaxprocs(0) == 3
        gomaxprocs(1)
        use_everything()
        gomaxprocs(4)
        use_everything()

    gort.run(child_of_fork, body)
    assert gomaxprocs(0) == 3


@isolated()
def test_subprocess_from_many_goroutines() -> None:
    crowd, wg, outputs = Crowd(), WaitGroup(), []

    def run(n: int) -> None:
        done = subprocess.run(["echo", str(n)], capture_output=True, text=True, check=True)
        outputs.append(int(done.stdout))

    for n in range(100):
        wg.go(run, n)
    wg.wait()
    assert sorted(outputs) == list(range(100))
    crowd.check()


@isolated()
def test_subprocess_pipes_and_preexec() -> None:
    def talk(n: int) -> None:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
            data = bytes([n]) * 200_000
            assert cat.communicate(data)[0] == data

    def with_preexec() -> None:
        out = subprocess.run(["pwd"], preexec_fn=lambda: os.chdir("/"), capture_output=True, check=True)
        assert out.stdout == b"/\n"

    crowd, wg = Crowd(100), WaitGroup()
    for n in range(10):
        wg.go(talk, n)
    wg.go(with_preexec)
    wg.wait()
    with pytest.raises(subprocess.TimeoutExpired):
        gort.run(subprocess.run, ["sleep", "60"], timeout=0.05)
    crowd.check()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("place", ["main", "goroutine"])
def test_multiprocessing_pool(method: str, place: str) -> None:
    run_source(
        """
        import multiprocessing, sys
        import gort, gort.sync, gort.time

        def work(n):
            if sys.argv[1] != "spawn":
                ch = gort.chan()
                gort.go(ch.send, n)
                return ch.recv() ** 2
            return gort.run(pow, n, 2)

        def main():
            gate, wg = gort.chan(), gort.sync.WaitGroup()
            for _ in range(1000):
                wg.go(gate.recv)
            with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
                assert pool.map(work, range(20)) == [n * n for n in range(20)]
                assert list(pool.imap_unordered(abs, [-1] * 10)) == [1] * 10
            gate.close()
            wg.wait()
            print("ok")

        if __name__ == "__main__":
            main() if sys.argv[2] == "main" else gort.run(main)
        """,
        method,
        place,
    ).check(stdout="ok", stderr="")


def test_process_pool_executor_beside_goroutines() -> None:
    run_source(
        """
        from concurrent.futures import ProcessPoolExecutor
        import gort, gort.sync

        def main():
            results, wg = [], gort.sync.WaitGroup()
            with ProcessPoolExecutor(2) as pool:
                for n in range(20):
                    wg.go(lambda n=n: results.append(pool.submit(pow, n, 2).result()))
                wg.wait()
            assert sorted(results) == [n * n for n in range(20)]
            print("ok")

        if __name__ == "__main__":
            main()
        """
    ).check(stdout="ok", stderr="")


@isolated()
def test_spawned_process_from_a_goroutine() -> None:
    code = "import gort; ch = gort.chan(); gort.go(ch.send, 42); print(ch.recv())"
    for _ in range(3):
        out = gort.run(subprocess.check_output, [sys.executable, "-c", code], text=True)
        assert out == "42\n"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="CPython 3.11 does not count threads at a fork")
@isolated(flags=["-W", "error"])
def test_fork_of_a_program_without_goroutines_finds_one_thread() -> None:
    """The scavenger's thread is gone while it happens, and back afterwards."""

    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    def scavenging() -> None:
        blocks = [bytes(1000) for _ in range(20_000)]
        del blocks
        while threads() < 2:
            time.sleep(0.01)

    scavenging()
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            scavenging()
            os._exit(0 if threads() == 2 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        while threads() < 2:
            time.sleep(0.001)


@isolated(flags=["-W", "error"])
def test_fork_with_a_pending_timer_and_no_goroutine() -> None:
    ch = after(0.2)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert must_recv(ch) > 0


@isolated(timeout=60)
def test_the_child_of_a_thread_ends_with_it() -> None:
    """As without gort, with status 0: whatever the child has done, gort's own threads do not keep it."""
    from gort.time import sleep

    def by_goroutines() -> None:
        done = chan()
        go(done.send, 1)
        done.recv()
        go(sleep, 1000)

    def by_the_scavenger() -> None:
        kept = [bytes(3_000_000) for _ in range(20)]
        del kept
        time.sleep(0.05)

    def by_a_child() -> None:
        pid = os.fork()
        if pid == 0:
            by_goroutines()
            return
        assert os.waitpid(pid, 0)[1] == 0

    local = threading.local()
    reading, writing = os.pipe()

    class Writes:
        def __del__(self) -> None:
            done = chan()
            go(done.send, 1)
            done.recv()
            os.write(writing, b"destructor ran")

    def with_a_local() -> None:
        by_goroutines()
        local.writes = Writes()

    def before_another() -> None:
        with_a_local()
        threading.Thread(target=lambda: (time.sleep(2), os._exit(5))).start()

    outcomes = []

    def fork(body: Callable[[], None]) -> None:
        pid = os.fork()
        if pid == 0:
            body()
            return
        outcomes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    for body in (lambda: None, by_goroutines, by_the_scavenger, by_a_child, with_a_local, before_another):
        thread = threading.Thread(target=fork, args=(body,))
        thread.start()
        thread.join()
    assert outcomes == [0, 0, 0, 0, 0, 5]
    assert os.read(reading, 100) == b"destructor ran" * 2

    pid = os.fork()
    if pid == 0:
        by_goroutines()
        sys.exit(3)  # main's child ends as a program does
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
