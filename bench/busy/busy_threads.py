"""A thread that computes for a second without ever yielding, beside a ticker."""

import threading
from time import perf_counter, sleep

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
        sleep(TICK)
        latest = max(latest, perf_counter() - start - TICK)


n = size(1000)
running, latest = True, 0.0
ticker = threading.Thread(target=tick)
ticker.start()
sleep(10 * TICK)
start = perf_counter()
computer = threading.Thread(target=compute, args=(n,))
computer.start()
computer.join()
seconds = perf_counter() - start
running = False
ticker.join()
report("busy", "threads", n, seconds, latest_ms=latest * 1e3)
