"""Tasks that sleep up to one second each."""

import asyncio
from time import perf_counter

from common import durations, report, run_asyncio, size


async def task(duration: float) -> None:
    start = perf_counter()
    await asyncio.sleep(duration)
    late.append(perf_counter() - start - duration)


async def main() -> None:
    global seconds
    start = perf_counter()
    await asyncio.gather(*[task(duration) for duration in sleeps])
    seconds = perf_counter() - start


n = size(100_000)
sleeps = durations(n)
late: list[float] = []
seconds = 0.0
contender = run_asyncio(main())
report("timers", contender, n, seconds, overrun_ms=(seconds - max(sleeps)) * 1e3, latest_ms=max(late) * 1e3)
