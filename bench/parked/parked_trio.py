"""Tasks that wait for an event."""

from time import perf_counter

import trio

from common import report, rss, size


async def task(release: trio.Event) -> None:
    global ready
    ready += 1
    await release.wait()


async def main() -> None:
    release = trio.Event()
    before = rss()
    start = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(task, release)
        while ready < n:
            await trio.lowlevel.checkpoint()
        parked = perf_counter()
        resident = rss() - before
        woken = perf_counter()
        release.set()
    end = perf_counter()
    report(
        "parked",
        "trio",
        n,
        end - start,
        rss_bytes=resident / n,
        start_us=(parked - start) / n * 1e6,
        wake_us=(end - woken) / n * 1e6,
    )


n = size(100_000)
ready = 0
trio.run(main)
