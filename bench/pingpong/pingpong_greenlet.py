"""Round trips between two greenlets that switch values to each other: no scheduler, no channel."""

from time import perf_counter

from greenlet import getcurrent, greenlet

from common import report, size


def ping(n: int, other: greenlet) -> None:
    for _ in range(n):
        other.switch(1)


def pong(n: int, other: greenlet, value: int) -> None:
    for _ in range(n):
        value = other.switch(value)


def run(n: int) -> None:
    main = getcurrent()
    ping(n, greenlet(lambda value: pong(n, main, value)))


n = size(300_000)
run(n // 10)
start = perf_counter()
run(n)
report("pingpong", "greenlet", n, perf_counter() - start)
