"""100 tasks, each five times in a C call that blocks for 10 ms, beside a ticker."""

import asyncio
import ctypes
from time import perf_counter

from common import TICK, report, run_asyncio, size

CALLS = 5
usleep = ctypes.CDLL(None).usleep


async def block() -> None:
    for _ in range(CALLS):
        usleep(10_000)


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
    await asyncio.gather(*[block() for _ in range(n)])
    seconds = perf_counter() - start
    running = False
    await ticker


n = size(100)
running, latest, seconds = True, 0.0, 0.0
contender = run_asyncio(main())
report("blocking", contender, n, seconds, total_ms=seconds * 1e3, latest_ms=latest * 1e3)
