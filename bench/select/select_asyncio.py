"""Ten producers, each with a queue of one element, and one consumer that waits for the first of ten gets."""

import asyncio
from time import perf_counter

from common import report, run_asyncio, size

CHANNELS = 10


async def produce(n: int, queue: asyncio.Queue[int]) -> None:
    for i in range(n):
        await queue.put(i)


async def consume(n: int, queues: list[asyncio.Queue[int]]) -> None:
    gets = {asyncio.ensure_future(queue.get()): queue for queue in queues}
    received = 0
    while received < n:
        done, _pending = await asyncio.wait(gets, return_when=asyncio.FIRST_COMPLETED)
        received += len(done)
        for get in done:
            queue = gets.pop(get)
            gets[asyncio.ensure_future(queue.get())] = queue
    for get in gets:
        get.cancel()


async def run(n: int) -> None:
    queues: list[asyncio.Queue[int]] = [asyncio.Queue(1) for _ in range(CHANNELS)]
    await asyncio.gather(consume(n, queues), *[produce(n // CHANNELS, queue) for queue in queues])


async def main() -> None:
    global seconds
    await run(n // 10)
    start = perf_counter()
    await run(n)
    seconds = perf_counter() - start


n = size(200_000)
seconds = 0.0
report("select", run_asyncio(main()), n, seconds)
