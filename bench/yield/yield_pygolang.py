"""Two goroutines that yield to each other: pygolang has no gosched, a sleep of 0 is the nearest."""

from time import perf_counter

from golang import go
from golang.sync import WaitGroup
from golang.time import sleep

from common import pygolang, report, size


def task(n: int, wg: WaitGroup) -> None:
    for _ in range(n):
        sleep(0)
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
report("yield", pygolang(), n, perf_counter() - start)
