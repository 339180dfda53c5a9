"""200,000 goroutines that end at once, 1,000 alive at a time."""

from time import perf_counter

from golang import go
from golang.sync import WaitGroup

from common import pygolang, report, size

ALIVE = 1000


def task(wg: WaitGroup) -> None:
    wg.done()


def spawn(n: int) -> None:
    wg = WaitGroup()
    for _ in range(n // ALIVE):
        wg.add(ALIVE)
        for _ in range(ALIVE):
            go(task, wg)
        wg.wait()


n = size(200_000)
spawn(n // 10)
start = perf_counter()
spawn(n)
report("spawn", pygolang(), n, perf_counter() - start)
