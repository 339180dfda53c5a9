"""200,000 greenlets that end at once, 1,000 alive at a time: bare greenlets, no scheduler."""

from time import perf_counter

from greenlet import greenlet

from common import report, size

ALIVE = 1000


def task() -> None:
    pass


def spawn(n: int) -> None:
    for _ in range(n // ALIVE):
        for each in [greenlet(task) for _ in range(ALIVE)]:
            each.switch()


n = size(200_000)
spawn(n // 10)
start = perf_counter()
spawn(n)
report("spawn", "greenlet", n, perf_counter() - start)
