"""A producer and a consumer, joined by a channel of 128 elements."""

from time import perf_counter

from golang import chan, go
from golang.sync import WaitGroup

from common import pygolang, report, size


def produce(n: int, ch: chan, wg: WaitGroup) -> None:
    for i in range(n):
        ch.send(i)
    ch.close()
    wg.done()


def consume(n: int, ch: chan, wg: WaitGroup) -> None:
    received = 0
    while ch.recv_()[1]:
        received += 1
    assert received == n
    wg.done()


def run(n: int) -> None:
    ch = chan(128)
    wg = WaitGroup()
    wg.add(2)
    go(produce, n, ch, wg)
    go(consume, n, ch, wg)
    wg.wait()


n = size(1_000_000)
run(n // 10)
start = perf_counter()
run(n)
report("prodcons", pygolang(), n, perf_counter() - start)
