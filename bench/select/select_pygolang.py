"""Ten producers, each with an unbuffered channel, and one consumer that selects over all ten."""

from time import perf_counter

from golang import chan, go, select
from golang.sync import WaitGroup

from common import pygolang, report, size

CHANNELS = 10


def produce(n: int, ch: chan) -> None:
    for i in range(n):
        ch.send(i)


def consume(n: int, channels: list[chan], wg: WaitGroup) -> None:
    cases = [ch.recv for ch in channels]
    for _ in range(n):
        select(*cases)
    wg.done()


def run(n: int) -> None:
    channels = [chan() for _ in range(CHANNELS)]
    wg = WaitGroup()
    wg.add(1)
    go(consume, n, channels, wg)
    for ch in channels:
        go(produce, n // CHANNELS, ch)
    wg.wait()


n = size(200_000)
run(n // 10)
start = perf_counter()
run(n)
report("select", pygolang(), n, perf_counter() - start)
