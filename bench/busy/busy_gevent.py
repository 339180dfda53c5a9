"""A greenlet that computes for a second without ever yielding, beside a ticker."""

from time import perf_counter

import gevent

from common import TICK, report, size


def compute(milliseconds: int) -> None:
    end = perf_counter() + milliseconds / 1e3
    x = 0
    while perf_counter() < end:
        x += 1


def tick() -> None:
    global latest
    while running:
        start = perf_counter()
        gevent.sleep(TICK)
        latest = max(latest, perf_counter() - start - TICK)


n = size(1000)
running, latest = True, 0.0
ticker = gevent.spawn(tick)
gevent.sleep(10 * TICK)
start = perf_counter()
gevent.spawn(compute, n).join()
seconds = perf_counter() - start
running = False
ticker.join()
report("busy", "gevent", n, seconds, latest_ms=latest * 1e3)
