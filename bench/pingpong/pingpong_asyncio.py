"""Round trips over two queues of one element: asyncio has no unbuffered ones."""

import asyncio
from time import perf_counter

from common import report, run_asyncio, size


async def ping(n: int, a: asyncio.Queue[int], b: asyncio.Queue[int]) -> None:
    for _ in range(n):
        await a.put(1)
        await b.get()


async def pong(n: int, a: asyncio.Queue[int], b: asyncio.Queue[int]) -> None:
    for _ in range(n):
        await b.put(await a.get())


async def run(n: int) -> None:
    a: asyncio.Queue[int] = asyncio.Queue(1)
    b: asyncio.Queue[int] = asyncio.Queue(1)
    await asyncio.gather(pong(n, a, b), ping(n, a, b))


async def main() -> None:
    global seconds
    await run(n // 10)
    start = perf_counter()
    await run(n)
    seconds = perf_counter() - start


n = size(300_000)
seconds = 0.0
report("pingpong", run_asyncio(main()), n, seconds)
