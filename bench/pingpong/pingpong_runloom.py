"""Round trips over two unbuffered channels."""

from time import perf_counter

import runloom

from common import report, size


def ping(n: int, a: runloom.Chan, b: runloom.Chan, done: runloom.Chan) -> None:
    for _ in range(n):
        a.send(1)
        b.recv()
    done.send(None)


def pong(n: int, a: runloom.Chan, b: runloom.Chan, done: runloom.Chan) -> None:
    for _ in range(n):
        value, _ok = a.recv()
        b.send(value)
    done.send(None)


def run(n: int) -> None:
    a, b, done = runloom.Chan(0), runloom.Chan(0), runloom.Chan(2)
    runloom.fiber(pong, n, a, b, done)
    runloom.fiber(ping, n, a, b, done)
    done.recv()
    done.recv()


def main() -> None:
    run(n // 10)
    start = perf_counter()
    run(n)
    report("pingpong", "runloom", n, perf_counter() - start)


n = size(300_000)
runloom.run(1, main)
