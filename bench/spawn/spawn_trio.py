"""200,000 tasks that end at once, 1,000 alive at a time."""

from time import perf_counter

import trio

from common import report, size

ALIVE = 1000


async def task() -> None:
    pass


async def spawn(n: int) -> None:
    for _ in range(n // ALIVE):
        async with trio.open_nursery() as nursery:
            for _ in range(ALIVE):
                nursery.start_soon(task)


async def main() -> None:
    await spawn(n // 10)
    start = perf_counter()
    await spawn(n)
    report("spawn", "trio", n, perf_counter() - start)


n = size(200_000)
trio.run(main)
