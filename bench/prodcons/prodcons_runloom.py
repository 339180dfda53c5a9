"""A producer and a consumer, joined by a channel of 128 elements."""

from time import perf_counter

import runloom

from common import report, size


def produce(n: int, ch: runloom.Chan, done: runloom.Chan) -> None:
    for i in range(n):
        ch.send(i)
    ch.close()
    done.send(None)


def consume(n: int, ch: runloom.Chan, done: runloom.Chan) -> None:
    received = 0
    for _ in ch:
        received += 1
    assert received == n
    done.send(None)


def run(n: int) -> None:
    ch, done = runloom.Chan(128), runloom.Chan(2)
    runloom.fiber(produce, n, ch, done)
    runloom.fiber(consume, n, ch, done)
    done.recv()
    done.recv()


def main() -> None:
    run(n // 10)
    start = perf_counter()
    run(n)
    report("prodcons", "runloom", n, perf_counter() - start)


n = size(1_000_000)
runloom.run(1, main)
