"""Round trips over two unbuffered channels, between two goroutines or, with `main`, main and one."""

import sys
from time import perf_counter

from common import report, size
from gort import Chan, chan
from gort.sync import WaitGroup


def ping(n: int, a: Chan[int], b: Chan[int]) -> None:
    for _ in range(n):
        a.send(1)
        b.recv()


def pong(n: int, a: Chan[int], b: Chan[int]) -> None:
    for _ in range(n):
        b.send(a.recv())


def run(n: int) -> None:
    a, b = chan(), chan()
    wg = WaitGroup()
    wg.go(pong, n, a, b)
    if MAIN:
        ping(n, a, b)
    else:
        wg.go(ping, n, a, b)
    wg.wait()


n = size(300_000)
MAIN = "main" in sys.argv
run(n // 10)
start = perf_counter()
run(n)
report("pingpong-main" if MAIN else "pingpong", "gort", n, perf_counter() - start)
