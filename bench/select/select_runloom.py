"""Ten producers, each with an unbuffered channel, and one consumer that selects over all ten."""

from time import perf_counter

import runloom

from common import report, size

CHANNELS = 10


def produce(n: int, ch: runloom.Chan) -> None:
    for i in range(n):
        ch.send(i)


def consume(n: int, channels: list[runloom.Chan], done: runloom.Chan) -> None:
    cases = [("recv", ch) for ch in channels]
    for _ in range(n):
        _index, (_value, ok) = runloom.select(cases)
        assert ok
    done.send(None)


def run(n: int) -> None:
    channels = [runloom.Chan(0) for _ in range(CHANNELS)]
    done = runloom.Chan(1)
    runloom.fiber(consume, n, channels, done)
    for ch in channels:
        runloom.fiber(produce, n // CHANNELS, ch)
    done.recv()


def main() -> None:
    run(n // 10)
    start = perf_counter()
    run(n)
    report("select", "runloom", n, perf_counter() - start)


n = size(200_000)
runloom.run(1, main)
