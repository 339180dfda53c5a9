"""Greenlets that wait for an event."""

from time import perf_counter

import gevent
from gevent.event import Event

from common import report, rss, size


def task(release: Event) -> None:
    global ready
    ready += 1
    release.wait()


def run(n: int) -> None:
    release = Event()
    before = rss()
    start = perf_counter()
    tasks = [gevent.spawn(task, release) for _ in range(n)]
    while ready < n:
        gevent.sleep(0)
    parked = perf_counter()
    resident = rss() - before
    woken = perf_counter()
    release.set()
    gevent.joinall(tasks)
    end = perf_counter()
    report(
        "parked",
        "gevent",
        n,
        end - start,
        rss_bytes=resident / n,
        start_us=(parked - start) / n * 1e6,
        wake_us=(end - woken) / n * 1e6,
    )


ready = 0
run(size(100_000))
