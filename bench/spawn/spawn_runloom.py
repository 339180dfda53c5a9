"""200,000 fibers that end at once, 1,000 alive at a time; runloom_c is runloom's quickest entrance."""

from time import perf_counter

import runloom
import runloom_c

from common import report, size

ALIVE = 1000


def spawn(n: int) -> None:
    done = runloom.Chan(ALIVE)

    def task() -> None:
        done.send(None)

    for _ in range(n // ALIVE):
        for _ in range(ALIVE):
            runloom_c.fiber(task)
        for _ in range(ALIVE):
            done.recv()


def main() -> None:
    spawn(n // 10)
    start = perf_counter()
    spawn(n)
    report("spawn", "runloom", n, perf_counter() - start)


n = size(200_000)
runloom.run(1, main)
