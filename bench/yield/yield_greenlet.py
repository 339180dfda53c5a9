"""Two greenlets that switch to each other: bare greenlets, no scheduler."""

from time import perf_counter

from greenlet import getcurrent, greenlet

from common import report, size


def task(n: int, other: greenlet) -> None:
    switch = other.switch
    for _ in range(n):
        switch()


def run(n: int) -> None:
    task(n // 2, greenlet(lambda: task(n // 2, main)))


n = size(1_000_000)
main = getcurrent()
run(n // 10)
start = perf_counter()
run(n)
report("yield", "greenlet", n, perf_counter() - start)
