"""A task that computes for a second without ever yielding, beside a ticker."""

from time import perf_counter

import trio

from common import TICK, report, size


async def compute(milliseconds: int) -> None:
    end = perf_counter() + milliseconds / 1e3
    x = 0
    while perf_counter() < end:
        x += 1


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
            nursery.start_soon(compute, n)
        seconds = perf_counter() - start
        running = False


n = size(1000)
running, latest, seconds = True, 0.0, 0.0
trio.run(main)
report("busy", "trio", n, seconds, latest_ms=latest * 1e3)
