"""200,000 threads that end at once, 1,000 at a time."""

import threading
from time import perf_counter

from common import report, size

ALIVE = 1000


def task() -> None:
    pass


def spawn(n: int) -> None:
    for _ in range(n // ALIVE):
        threads = [threading.Thread(target=task) for _ in range(ALIVE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


n = size(200_000)
spawn(n // 10)
start = perf_counter()
spawn(n)
report("spawn", "threads", n, perf_counter() - start)
