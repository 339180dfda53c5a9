"""A thread that writes lines to a file for a second, beside a ticker."""

import os
import threading
from time import perf_counter, sleep

from common import TICK, report, size


def write(milliseconds: int) -> None:
    end = perf_counter() + milliseconds / 1e3
    null = open(os.devnull, "w")
    while perf_counter() < end:
        print("x", file=null)


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
writer = threading.Thread(target=write, args=(n,))
writer.start()
writer.join()
seconds = perf_counter() - start
running = False
ticker.join()
report("writing", "threads", n, seconds, latest_ms=latest * 1e3)
