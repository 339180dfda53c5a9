"""Greenlets that have switched back to the main one: bare greenlets, no scheduler."""

from time import perf_counter

from greenlet import getcurrent, greenlet

from common import report, rss, size


def task() -> None:
    main.switch()


def run(n: int) -> None:
    before = rss()
    start = perf_counter()
    tasks = [greenlet(task) for _ in range(n)]
    for each in tasks:
        each.switch()
    parked = perf_counter()
    resident = rss() - before
    woken = perf_counter()
    for each in tasks:
        each.switch()
    end = perf_counter()
    report(
        "parked",
        "greenlet",
        n,
        end - start,
        rss_bytes=resident / n,
        start_us=(parked - start) / n * 1e6,
        wake_us=(end - woken) / n * 1e6,
    )


main = getcurrent()
run(size(100_000))
