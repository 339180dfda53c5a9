"""Round trips over two channels (gevent's Channel is unbuffered)."""

from time import perf_counter

import gevent
from gevent.queue import Channel

from common import report, size


def ping(n: int, a: Channel, b: Channel) -> None:
    for _ in range(n):
        a.put(1)
        b.get()


def pong(n: int, a: Channel, b: Channel) -> None:
    for _ in range(n):
        b.put(a.get())


def run(n: int) -> None:
    a, b = Channel(), Channel()
    gevent.joinall([gevent.spawn(pong, n, a, b), gevent.spawn(ping, n, a, b)])


n = size(300_000)
run(n // 10)
start = perf_counter()
run(n)
report("pingpong", "gevent", n, perf_counter() - start)
