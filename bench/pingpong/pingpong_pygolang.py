"""Round trips over two unbuffered channels."""

from time import perf_counter

from golang import chan, go
from golang.sync import WaitGroup

from common import pygolang, report, size


def ping(n: int, a: chan, b: chan, wg: WaitGroup) -> None:
    for _ in range(n):
        a.send(1)
        b.recv()
    wg.done()


def pong(n: int, a: chan, b: chan, wg: WaitGroup) -> None:
    for _ in range(n):
        b.send(a.recv())
    wg.done()


def run(n: int) -> None:
    a, b = chan(), chan()
    wg = WaitGroup()
    wg.add(2)
    go(pong, n, a, b, wg)
    go(ping, n, a, b, wg)
    wg.wait()


n = size(300_000)
run(n // 10)
start = perf_counter()
run(n)
report("pingpong", pygolang(), n, perf_counter() - start)
