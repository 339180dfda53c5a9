"""A producer and a consumer, joined by a channel of 128 elements."""

from time import perf_counter

from common import report, size
from gort import Chan, chan
from gort.sync import WaitGroup


def produce(n: int, ch: Chan[int]) -> None:
    for i in range(n):
        ch.send(i)
    ch.close()


def consume(n: int, ch: Chan[int]) -> None:
    received = 0
    for _ in ch:
        received += 1
    assert received == n


def run(n: int) -> None:
    ch = chan(128)
    wg = WaitGroup()
    wg.go(produce, n, ch)
    wg.go(consume, n, ch)
    wg.wait()


n = size(1_000_000)
run(n // 10)
start = perf_counter()
run(n)
report("prodcons", "gort", n, perf_counter() - start)
