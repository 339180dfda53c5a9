"""Tasks that sleep up to one second each."""

from time import perf_counter

import trio

from common import durations, report, size


async def task(duration: float) -> None:
    start = perf_counter()
    await trio.sleep(duration)
    late.append(perf_counter() - start - duration)


async def main() -> None:
    global seconds
    start = perf_counter()
    async with trio.open_nursery() as nursery:
        for duration in sleeps:
            nursery.start_soon(task, duration)
    seconds = perf_counter() - start


n = size(100_000)
sleeps = durations(n)
late: list[float] = []
seconds = 0.0
trio.run(main)
report("timers", "trio", n, seconds, overrun_ms=(seconds - max(sleeps)) * 1e3, latest_ms=max(late) * 1e3)
