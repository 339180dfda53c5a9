"""Two greenlets that yield to each other."""

from time import perf_counter

import gevent

from common import report, size


def task(n: int) -> None:
    sleep = gevent.sleep
    for _ in range(n):
        sleep(0)


def run(n: int) -> None:
    gevent.joinall([gevent.spawn(task, n // 2), gevent.spawn(task, n // 2)])


n = size(1_000_000)
run(n // 10)
start = perf_counter()
run(n)
report("yield", "gevent", n, perf_counter() - start)
