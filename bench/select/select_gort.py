"""Ten producers, each with an unbuffered channel, and one consumer that selects over all ten."""

from time import perf_counter

from common import report, size
from gort import Chan, chan, go, select
from gort.sync import WaitGroup

CHANNELS = 10


def produce(n: int, ch: Chan[int]) -> None:
    for i in range(n):
        ch.send(i)


def consume(n: int, channels: list[Chan[int]]) -> None:
    for _ in range(n):
        _index, _value, ok = select(*channels)
        assert ok


def run(n: int) -> None:
    channels = [chan() for _ in range(CHANNELS)]
    wg = WaitGroup()
    wg.go(consume, n, channels)
    for ch in channels:
        go(produce, n // CHANNELS, ch)
    wg.wait()


n = size(200_000)
run(n // 10)
start = perf_counter()
run(n)
report("select", "gort", n, perf_counter() - start)
