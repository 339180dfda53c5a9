"""Threads that wait for an event."""

import threading
from time import perf_counter, sleep

from common import report, rss, size


def task(release: threading.Event) -> None:
    global ready
    with counting:
        ready += 1
    release.wait()


def run(n: int) -> None:
    release = threading.Event()
    before = rss()
    start = perf_counter()
    threads = [threading.Thread(target=task, args=(release,), daemon=True) for _ in range(n)]
    for thread in threads:
        thread.start()
    while ready < n:
        sleep(0)
    parked = perf_counter()
    resident = rss() - before
    woken = perf_counter()
    release.set()
    for thread in threads:
        thread.join()
    end = perf_counter()
    report(
        "parked",
        "threads",
        n,
        end - start,
        rss_bytes=resident / n,
        start_us=(parked - start) / n * 1e6,
        wake_us=(end - woken) / n * 1e6,
    )


ready = 0
counting = threading.Lock()
run(size(100_000))
