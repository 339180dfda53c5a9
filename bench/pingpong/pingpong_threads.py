"""Round trips over two SimpleQueues, the quickest ones between threads: they have no bound."""

import threading
from queue import SimpleQueue
from time import perf_counter

from common import report, size


def ping(n: int, a: SimpleQueue[int], b: SimpleQueue[int]) -> None:
    for _ in range(n):
        a.put(1)
        b.get()


def pong(n: int, a: SimpleQueue[int], b: SimpleQueue[int]) -> None:
    for _ in range(n):
        b.put(a.get())


def run(n: int) -> None:
    a: SimpleQueue[int] = SimpleQueue()
    b: SimpleQueue[int] = SimpleQueue()
    threads = [threading.Thread(target=side, args=(n, a, b)) for side in (pong, ping)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


n = size(300_000)
run(n // 10)
start = perf_counter()
run(n)
report("pingpong", "threads", n, perf_counter() - start)
