"""Goroutines that wait for a channel to be closed."""

from time import perf_counter

from golang import chan, go
from golang.sync import WaitGroup

from common import pygolang, report, rss, size


def task(ready: WaitGroup, release: chan, done: WaitGroup) -> None:
    ready.done()
    release.recv()
    done.done()


def run(n: int) -> None:
    ready, release, done = WaitGroup(), chan(), WaitGroup()
    ready.add(n)
    done.add(n)
    before = rss()
    start = perf_counter()
    for _ in range(n):
        go(task, ready, release, done)
    ready.wait()
    parked = perf_counter()
    resident = rss() - before
    woken = perf_counter()
    release.close()
    done.wait()
    end = perf_counter()
    report(
        "parked",
        pygolang(),
        n,
        end - start,
        rss_bytes=resident / n,
        start_us=(parked - start) / n * 1e6,
        wake_us=(end - woken) / n * 1e6,
    )


run(size(100_000))
