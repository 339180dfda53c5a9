"""A producer and a consumer, joined by a queue of 128 elements."""

import asyncio
from time import perf_counter

from common import report, run_asyncio, size


async def produce(n: int, queue: asyncio.Queue[int | None]) -> None:
    for i in range(n):
        await queue.put(i)
    await queue.put(None)


async def consume(n: int, queue: asyncio.Queue[int | None]) -> None:
    received = 0
    while await queue.get() is not None:
        received += 1
    assert received == n


async def run(n: int) -> None:
    queue: asyncio.Queue[int | None] = asyncio.Queue(128)
    await asyncio.gather(produce(n, queue), consume(n, queue))


async def main() -> None:
    global seconds
    await run(n // 10)
    start = perf_counter()
    await run(n)
    seconds = perf_counter() - start


n = size(1_000_000)
seconds = 0.0
report("prodcons", run_asyncio(main()), n, seconds)
