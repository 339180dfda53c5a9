"""Eight goroutines that take one mutex, and yield in one critical section of ten."""

from time import perf_counter

from common import report, size
from gort.runtime import gosched
from gort.sync import Mutex, WaitGroup

WORKERS = 8
EVERY = 10


def work(n: int, mutex: Mutex) -> None:
    for _ in range(n // EVERY):
        mutex.lock()
        gosched()
        mutex.unlock()
        for _ in range(EVERY - 1):
            mutex.lock()
            mutex.unlock()


def run(n: int) -> None:
    mutex = Mutex()
    wg = WaitGroup()
    for _ in range(WORKERS):
        wg.go(work, n // WORKERS, mutex)
    wg.wait()


n = size(400_000)
run(n // 10)
start = perf_counter()
run(n)
report("mutex", "gort", n, perf_counter() - start)
