"""Fibers that sleep up to one second each."""

import os
import sys
from time import perf_counter

import runloom

from common import durations, report, size


def task(duration: float) -> None:
    start = perf_counter()
    runloom.sleep(duration)
    late.append(perf_counter() - start - duration)
    done.send(None)


def main() -> None:
    start = perf_counter()
    for i, duration in enumerate(sleeps):
        try:
            runloom.fiber(task, duration)
        except MemoryError as error:
            print(f"{error} with {i} fibers alive", file=sys.stderr, flush=True)
            os._exit(1)
    for _ in range(n):
        done.recv()
    seconds = perf_counter() - start
    overrun = seconds - max(sleeps)
    report("timers", "runloom", n, seconds, overrun_ms=overrun * 1e3, latest_ms=max(late) * 1e3)


n = size(100_000)
sleeps = durations(n)
late: list[float] = []
done = runloom.Chan(n)
runloom.run(1, main)
