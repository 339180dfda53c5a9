"""A goroutine that computes for a second without ever yielding, beside a ticker."""

from time import perf_counter

from golang import go
from golang.sync import WaitGroup
from golang.time import sleep

from common import TICK, pygolang, report, size


def compute(milliseconds: int, wg: WaitGroup) -> None:
    end = perf_counter() + milliseconds / 1e3
    x = 0
    while perf_counter() < end:
        x += 1
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
computer, ticker = WaitGroup(), WaitGroup()
ticker.add(1)
go(tick, ticker)
sleep(10 * TICK)
start = perf_counter()
computer.add(1)
go(compute, n, computer)
computer.wait()
seconds = perf_counter() - start
running = False
ticker.wait()
report("busy", pygolang(), n, seconds, latest_ms=latest * 1e3)
