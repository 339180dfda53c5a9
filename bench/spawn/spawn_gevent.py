"""200,000 greenlets that end at once, 1,000 alive at a time."""

from time import perf_counter

import gevent

from common import report, size

ALIVE = 1000


def task() -> None:
    pass


def spawn(n: int) -> None:
    for _ in range(n // ALIVE):
        gevent.joinall([gevent.spawn(task) for _ in range(ALIVE)])


n = size(200_000)
spawn(n // 10)
start = perf_counter()
spawn(n)
report("spawn", "gevent", n, perf_counter() - start)
