"""200,000 tasks that end at once, 1,000 alive at a time."""

import asyncio
from time import perf_counter

from common import report, run_asyncio, size

ALIVE = 1000


async def task() -> None:
    pass


async def spawn(n: int) -> None:
    for _ in range(n // ALIVE):
        await asyncio.gather(*[task() for _ in range(ALIVE)])


async def main() -> None:
    global seconds
    await spawn(n // 10)
    start = perf_counter()
    await spawn(n)
    seconds = perf_counter() - start


n = size(200_000)
seconds = 0.0
report("spawn", run_asyncio(main()), n, seconds)
