"""Eight fibers that take one mutex (runloom_c has the quickest), and yield in one section of ten."""

from time import perf_counter

import runloom
import runloom_c

from common import report, size

WORKERS = 8
EVERY = 10


def work(n: int, mutex: runloom_c.Mutex, done: runloom.Chan) -> None:
    for _ in range(n // EVERY):
        mutex.lock()
        runloom_c.sched_yield()
        mutex.unlock()
        for _ in range(EVERY - 1):
            mutex.lock()
            mutex.unlock()
    done.send(None)


def run(n: int) -> None:
    mutex = runloom_c.Mutex()
    done = runloom.Chan(WORKERS)
    for _ in range(WORKERS):
        runloom.fiber(work, n // WORKERS, mutex, done)
    for _ in range(WORKERS):
        done.recv()


def main() -> None:
    run(n // 10)
    start = perf_counter()
    run(n)
    report("mutex", "runloom", n, perf_counter() - start)


n = size(400_000)
runloom.run(1, main)
