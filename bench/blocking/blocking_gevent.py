"""100 greenlets, each five times in a C call that blocks for 10 ms, beside a ticker."""

import ctypes
from time import perf_counter

import gevent

from common import TICK, report, size

CALLS = 5
usleep = ctypes.CDLL(None).usleep


def block() -> None:
    for _ in range(CALLS):
        usleep(10_000)


def tick() -> None:
    global latest
    while running:
        start = perf_counter()
        gevent.sleep(TICK)
        latest = max(latest, perf_counter() - start - TICK)


n = size(100)
running, latest = True, 0.0
ticker = gevent.spawn(tick)
gevent.sleep(10 * TICK)
start = perf_counter()
gevent.joinall([gevent.spawn(block) for _ in range(n)])
seconds = perf_counter() - start
running = False
ticker.join()
report("blocking", "gevent", n, seconds, total_ms=seconds * 1e3, latest_ms=latest * 1e3)
