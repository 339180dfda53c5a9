"""A task that computes for a second without ever yielding, beside a ticker."""

import asyncio
from time import perf_counter

from common import TICK, report, run_asyncio, size


async def compute(milliseconds: int) -> None:
    end = perf_counter() + milliseconds / 1e3
    x = 0
    while perf_counter() < end:
        x += 1


async def tick() -> None:
    global latest
    while running:
        start = perf_counter()
        await asyncio.sleep(TICK)
        latest = max(latest, perf_counter() - start - TICK)


async def main() -> None:
    global running, seconds
    ticker = asyncio.ensure_future(tick())
    await asyncio.sleep(10 * TICK)
    start = perf_counter()
    await asyncio.ensure_future(compute(n))
    seconds = perf_counter() - start
    running = False
    await ticker


n = size(1000)
running, latest, seconds = True, 0.0, 0.0
contender = run_asyncio(main())
report("busy", contender, n, seconds, latest_ms=latest * 1e3)
