"""100 tasks, each five times in a C call that blocks for 10 ms, beside a ticker."""

import ctypes
from time import perf_counter

import trio

from common import TICK, report, size

CALLS = 5
usleep = ctypes.CDLL(None).usleep


async def block() -> None:
    for _ in range(CALLS):
        usleep(10_000)


async def tick() -> None:
    global latest
    while running:
        start = perf_counter()
        await trio.sleep(TICK)
        latest = max(latest, perf_counter() - start - TICK)


async def main() -> None:
    global running, seconds
    async with trio.open_nursery() as tickers:
        tickers.start_soon(tick)
        await trio.sleep(10 * TICK)
        start = perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(n):
                nursery.start_soon(block)
        seconds = perf_counter() - start
        running = False


n = size(100)
running, latest, seconds = True, 0.0, 0.0
trio.run(main)
report("blocking", "trio", n, seconds, total_ms=seconds * 1e3, latest_ms=latest * 1e3)
