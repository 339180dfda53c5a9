"""Two tasks that yield to each other."""

from time import perf_counter

import trio

from common import report, size


async def task(n: int) -> None:
    checkpoint = trio.lowlevel.checkpoint
    for _ in range(n):
        await checkpoint()


async def run(n: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(task, n // 2)
        nursery.start_soon(task, n // 2)


async def main() -> None:
    await run(n // 10)
    start = perf_counter()
    await run(n)
    report("yield", "trio", n, perf_counter() - start)


n = size(1_000_000)
trio.run(main)
