"""Eight goroutines that take one mutex, and yield (a sleep of 0) in one critical section of ten."""

from time import perf_counter

from golang import go
from golang.sync import Mutex, WaitGroup
from golang.time import sleep

from common import pygolang, report, size

WORKERS = 8
EVERY = 10


def work(n: int, mutex: Mutex, wg: WaitGroup) -> None:
    for _ in range(n // EVERY):
        mutex.lock()
        sleep(0)
        mutex.unlock()
        for _ in range(EVERY - 1):
            mutex.lock()
            mutex.unlock()
    wg.done()


def run(n: int) -> None:
    mutex = Mutex()
    wg = WaitGroup()
    wg.add(WORKERS)
    for _ in range(WORKERS):
        go(work, n // WORKERS, mutex, wg)
    wg.wait()


n = size(400_000)
run(n // 10)
start = perf_counter()
run(n)
report("mutex", pygolang(), n, perf_counter() - start)
