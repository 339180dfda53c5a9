"""Two goroutines that yield to each other."""

from time import perf_counter

from common import report, size
from gort import go
from gort.runtime import gosched
from gort.sync import WaitGroup


def task(n: int, wg: WaitGroup) -> None:
    for _ in range(n):
        gosched()
    wg.done()


def run(n: int) -> None:
    wg = WaitGroup()
    wg.add(2)
    go(task, n // 2, wg)
    go(task, n // 2, wg)
    wg.wait()


n = size(1_000_000)
run(n // 10)
start = perf_counter()
run(n)
report("yield", "gort", n, perf_counter() - start)
