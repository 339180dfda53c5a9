"""A producer and a consumer, joined by a queue of 128 elements."""

import threading
from queue import Queue
from time import perf_counter

from common import report, size


def produce(n: int, queue: Queue[int | None]) -> None:
    for i in range(n):
        queue.put(i)
    queue.put(None)


def consume(n: int, queue: Queue[int | None]) -> None:
    received = 0
    while queue.get() is not None:
        received += 1
    assert received == n


def run(n: int) -> None:
    queue: Queue[int | None] = Queue(128)
    threads = [threading.Thread(target=side, args=(n, queue)) for side in (produce, consume)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


n = size(1_000_000)
run(n // 10)
start = perf_counter()
run(n)
report("prodcons", "threads", n, perf_counter() - start)
