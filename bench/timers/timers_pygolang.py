"""Goroutines that sleep up to one second each."""

from time import perf_counter

from golang import go
from golang.sync import WaitGroup
from golang.time import sleep

from common import durations, pygolang, report, size


def task(duration: float, wg: WaitGroup) -> None:
    start = perf_counter()
    sleep(duration)
    late.append(perf_counter() - start - duration)
    wg.done()


n = size(100_000)
sleeps = durations(n)
late: list[float] = []
wg = WaitGroup()
wg.add(n)
start = perf_counter()
for duration in sleeps:
    go(task, duration, wg)
wg.wait()
seconds = perf_counter() - start
report("timers", pygolang(), n, seconds, overrun_ms=(seconds - max(sleeps)) * 1e3, latest_ms=max(late) * 1e3)
