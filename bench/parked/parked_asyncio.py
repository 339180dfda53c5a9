"""Tasks that wait for an event."""

import asyncio
from time import perf_counter

from common import report, rss, run_asyncio, size


async def task(release: asyncio.Event) -> None:
    global ready
    ready += 1
    await release.wait()


async def main() -> None:
    global seconds, figures
    release = asyncio.Event()
    before = rss()
    start = perf_counter()
    tasks = [asyncio.ensure_future(task(release)) for _ in range(n)]
    while ready < n:
        await asyncio.sleep(0)
    parked = perf_counter()
    resident = rss() - before
    woken = perf_counter()
    release.set()
    await asyncio.gather(*tasks)
    end = perf_counter()
    seconds = end - start
    figures = {
        "rss_bytes": resident / n,
        "start_us": (parked - start) / n * 1e6,
        "wake_us": (end - woken) / n * 1e6,
    }


n = size(100_000)
ready = 0
seconds = 0.0
figures: dict[str, float] = {}
contender = run_asyncio(main())
report("parked", contender, n, seconds, **figures)
