"""A goroutine that writes lines to a file for a second, beside a ticker."""

import os
from time import perf_counter

from common import TICK, report, size
from gort import go
from gort.sync import WaitGroup
from gort.time import sleep


def write(milliseconds: int, wg: WaitGroup) -> None:
    end = perf_counter() + milliseconds / 1e3
    null = open(os.devnull, "w")
    while perf_counter() < end:
        print("x", file=null)
    wg.done()


def tick(wg: WaitGroup) -> None:
    global latest
    while running:
        start = perf_counter()
        sleep(TICK)
        latest = max(latest, perf_counter() - start - TICK)
    wg.done()


n = size(1000)
running, latest = True, 0.0
writer, ticker = WaitGroup(), WaitGroup()
ticker.add(1)
go(tick, ticker)
sleep(10 * TICK)
start = perf_counter()
writer.add(1)
go(write, n, writer)
writer.wait()
seconds = perf_counter() - start
running = False
ticker.wait()
report("writing", "gort", n, seconds, latest_ms=latest * 1e3)
