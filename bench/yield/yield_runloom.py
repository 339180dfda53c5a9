"""Two fibers that yield to each other; runloom_c.sched_yield is runloom's quickest yield."""

from time import perf_counter

import runloom
import runloom_c

from common import report, size


def task(n: int, done: runloom.Chan) -> None:
    sched_yield = runloom_c.sched_yield
    for _ in range(n):
        sched_yield()
    done.send(None)


def run(n: int) -> None:
    done = runloom.Chan(2)
    runloom.fiber(task, n // 2, done)
    runloom.fiber(task, n // 2, done)
    done.recv()
    done.recv()


def main() -> None:
    run(n // 10)
    start = perf_counter()
    run(n)
    report("yield", "runloom", n, perf_counter() - start)


n = size(1_000_000)
runloom.run(1, main)
