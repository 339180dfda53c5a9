"""Greenlets that sleep up to one second each."""

from time import perf_counter

import gevent

from common import durations, report, size


def task(duration: float) -> None:
    start = perf_counter()
    gevent.sleep(duration)
    late.append(perf_counter() - start - duration)


n = size(100_000)
sleeps = durations(n)
late: list[float] = []
start = perf_counter()
gevent.joinall([gevent.spawn(task, duration) for duration in sleeps])
seconds = perf_counter() - start
report("timers", "gevent", n, seconds, overrun_ms=(seconds - max(sleeps)) * 1e3, latest_ms=max(late) * 1e3)
