"""Eight tasks that take one lock, and yield in one critical section of ten."""

from time import perf_counter

import trio

from common import report, size

WORKERS = 8
EVERY = 10


async def work(n: int, mutex: trio.Lock) -> None:
    for _ in range(n // EVERY):
        await mutex.acquire()
        await trio.lowlevel.checkpoint()
        mutex.release()
        for _ in range(EVERY - 1):
            await mutex.acquire()
            mutex.release()


async def run(n: int) -> None:
    mutex = trio.Lock()
    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(work, n // WORKERS, mutex)


async def main() -> None:
    await run(n // 10)
    start = perf_counter()
    await run(n)
    report("mutex", "trio", n, perf_counter() - start)


n = size(400_000)
trio.run(main)
