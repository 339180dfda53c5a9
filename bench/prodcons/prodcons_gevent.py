"""A producer and a consumer, joined by a queue of 128 elements."""

from time import perf_counter

import gevent
from gevent.queue import SimpleQueue

from common import report, size


def produce(n: int, queue: SimpleQueue) -> None:
    for i in range(n):
        queue.put(i)
    queue.put(None)


def consume(n: int, queue: SimpleQueue) -> None:
    received = 0
    while queue.get() is not None:
        received += 1
    assert received == n


def run(n: int) -> None:
    queue = SimpleQueue(128)
    gevent.joinall([gevent.spawn(produce, n, queue), gevent.spawn(consume, n, queue)])


n = size(1_000_000)
run(n // 10)
start = perf_counter()
run(n)
report("prodcons", "gevent", n, perf_counter() - start)
