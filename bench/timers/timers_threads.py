"""Threads that sleep up to one second each."""

import threading
from time import perf_counter, sleep

from common import durations, report, size


def task(duration: float) -> None:
    start = perf_counter()
    sleep(duration)
    late.append(perf_counter() - start - duration)


n = size(100_000)
sleeps = durations(n)
late: list[float] = []
start = perf_counter()
threads = [threading.Thread(target=task, args=(duration,), daemon=True) for duration in sleeps]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
seconds = perf_counter() - start
report("timers", "threads", n, seconds, overrun_ms=(seconds - max(sleeps)) * 1e3, latest_ms=max(late) * 1e3)
