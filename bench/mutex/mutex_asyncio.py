"""Eight tasks that take one lock, and yield in one critical section of ten."""

import asyncio
from time import perf_counter

from common import report, run_asyncio, size

WORKERS = 8
EVERY = 10


async def work(n: int, mutex: asyncio.Lock) -> None:
    for _ in range(n // EVERY):
        await mutex.acquire()
        await asyncio.sleep(0)
        mutex.release()
        for _ in range(EVERY - 1):
            await mutex.acquire()
            mutex.release()


async def run(n: int) -> None:
    mutex = asyncio.Lock()
    await asyncio.gather(*[work(n // WORKERS, mutex) for _ in range(WORKERS)])


async def main() -> None:
    global seconds
    await run(n // 10)
    start = perf_counter()
    await run(n)
    seconds = perf_counter() - start


n = size(400_000)
seconds = 0.0
report("mutex", run_asyncio(main()), n, seconds)
