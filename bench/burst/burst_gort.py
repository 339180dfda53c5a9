"""Goroutines that were all parked at once and have ended: what is left of them after some idle seconds."""

import gc
import threading
import time
from time import perf_counter

from common import page_tables, report, rss, size
from gort import Chan, chan, go
from gort.sync import WaitGroup

IDLE = 15  # seconds


def peer(there: Chan[int], back: Chan[int]) -> None:
    for value in there:
        time.sleep(0.0003)  # main's thread falls asleep meanwhile
        back.send(value)


def round_trip() -> float:
    """Main and a plain thread: the best of some rounds, without the thread's sleep."""
    best = 1e9
    for _ in range(20):
        start = perf_counter()
        for i in range(50):
            there.send(i)
            back.recv()
        best = min(best, perf_counter() - start)
    return best / 50


def collection() -> float:
    best = 1e9
    for _ in range(20):
        start = perf_counter()
        gc.collect()
        best = min(best, perf_counter() - start)
    return best


def task(release: Chan[None], done: WaitGroup) -> None:
    release.recv()
    done.done()


n = size(1_000_000)
there, back = chan(), chan()
threading.Thread(target=peer, args=(there, back), daemon=True).start()
round_trip()
collection()
memory, tables, trip, full = rss(), page_tables(), round_trip(), collection()
start = perf_counter()
release, done = chan(), WaitGroup()
done.add(n)
for _ in range(n):
    go(task, release, done)
release.close()
done.wait()
seconds = perf_counter() - start
peak = rss()
time.sleep(IDLE)
report(
    "burst",
    "gort",
    n,
    seconds,
    peak_mib=(peak - memory) / 2**20,
    rss_mib=(rss() - memory) / 2**20,
    tables_mib=(page_tables() - tables) / 2**20,
    trip_ratio=round_trip() / trip,
    full_ratio=collection() / full,
)
