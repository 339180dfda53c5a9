"""Two tasks that yield to each other."""

import asyncio
from time import perf_counter

from common import report, run_asyncio, size


async def task(n: int) -> None:
    sleep = asyncio.sleep
    for _ in range(n):
        await sleep(0)


async def main() -> None:
    global seconds
    await asyncio.gather(task(n // 20), task(n // 20))
    start = perf_counter()
    await asyncio.gather(task(n // 2), task(n // 2))
    seconds = perf_counter() - start


n = size(1_000_000)
seconds = 0.0
report("yield", run_asyncio(main()), n, seconds)
