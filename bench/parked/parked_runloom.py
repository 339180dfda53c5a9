"""Fibers that wait for a channel to be closed."""

import os
import sys
from time import perf_counter

import runloom
import runloom_c

from common import report, rss, size


def main() -> None:
    release, done = runloom.Chan(0), runloom.Chan(n)
    ready = 0

    def task() -> None:
        nonlocal ready
        ready += 1
        release.recv()
        done.send(None)

    before = rss()
    start = perf_counter()
    for i in range(n):
        try:
            runloom_c.fiber(task)
        except MemoryError as error:
            print(f"{error} with {i} fibers alive", file=sys.stderr, flush=True)
            os._exit(1)
    while ready < n:
        runloom.yield_now()
    parked = perf_counter()
    resident = rss() - before
    woken = perf_counter()
    release.close()
    for _ in range(n):
        done.recv()
    end = perf_counter()
    report(
        "parked",
        "runloom",
        n,
        end - start,
        rss_bytes=resident / n,
        start_us=(parked - start) / n * 1e6,
        wake_us=(end - woken) / n * 1e6,
    )


n = size(100_000)
runloom.run(1, main)
