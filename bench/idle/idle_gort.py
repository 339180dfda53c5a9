"""Goroutines that were all blocked in C at once and have ended: what their idle threads cost."""

import os
import threading
import time
from time import perf_counter

from common import report, size
from gort import go, runtime
from gort.sync import WaitGroup

SECONDS = 5


def block(lock: threading.Lock, done: WaitGroup) -> None:
    with lock:
        pass
    done.done()


n = size(9_000)
lock, done = threading.Lock(), WaitGroup()
lock.acquire()
start = perf_counter()
done.add(n)
for _ in range(n):
    go(block, lock, done)
while len(os.listdir("/proc/self/task")) < n:
    time.sleep(0.01)
lock.release()
done.wait()
seconds = perf_counter() - start
time.sleep(8)  # the stacks of what has ended are given back meanwhile
cpu = time.process_time()
time.sleep(SECONDS)
cpu = time.process_time() - cpu
dump = 1e9
for _ in range(3):
    at = perf_counter()
    runtime.stack(True)
    dump = min(dump, perf_counter() - at)
report("idle", "gort", n, seconds, cpu_percent=cpu / SECONDS * 100, dump_ms=dump * 1e3)
