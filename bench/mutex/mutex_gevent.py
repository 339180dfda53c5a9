"""Eight greenlets that take one semaphore, and yield in one critical section of ten."""

from time import perf_counter

import gevent
from gevent.lock import Semaphore

from common import report, size

WORKERS = 8
EVERY = 10


def work(n: int, mutex: Semaphore) -> None:
    for _ in range(n // EVERY):
        mutex.acquire()
        gevent.sleep(0)
        mutex.release()
        for _ in range(EVERY - 1):
            mutex.acquire()
            mutex.release()


def run(n: int) -> None:
    mutex = Semaphore()
    gevent.joinall([gevent.spawn(work, n // WORKERS, mutex) for _ in range(WORKERS)])


n = size(400_000)
run(n // 10)
start = perf_counter()
run(n)
report("mutex", "gevent", n, perf_counter() - start)
