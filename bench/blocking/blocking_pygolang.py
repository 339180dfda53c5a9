"""100 goroutines, each five times in a C call that blocks for 10 ms, beside a ticker."""

import ctypes
from time import perf_counter

from golang import go
from golang.sync import WaitGroup
from golang.time import sleep

from common import TICK, pygolang, report, size

CALLS = 5
usleep = ctypes.CDLL(None).usleep


def block(wg: WaitGroup) -> None:
    for _ in range(CALLS):
        usleep(10_000)
    wg.done()


def tick(wg: WaitGroup) -> None:
    global latest
    while running:
        start = perf_counter()
        sleep(TICK)
        latest = max(latest, perf_counter() - start - TICK)
    wg.done()


n = size(100)
running, latest = True, 0.0
blockers, ticker = WaitGroup(), WaitGroup()
ticker.add(1)
go(tick, ticker)
sleep(10 * TICK)
start = perf_counter()
blockers.add(n)
for _ in range(n):
    go(block, blockers)
blockers.wait()
seconds = perf_counter() - start
running = False
ticker.wait()
report("blocking", pygolang(), n, seconds, total_ms=seconds * 1e3, latest_ms=latest * 1e3)
