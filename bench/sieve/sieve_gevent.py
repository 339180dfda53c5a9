"""The concurrent prime sieve: a chain of greenlets, one for each prime, joined by channels."""

from time import perf_counter

import gevent
from gevent.queue import Channel

from common import report, sieve_hops, size


def generate(out: Channel) -> None:
    number = 2
    while True:
        out.put(number)
        number += 1


def sift(source: Channel, out: Channel, prime: int) -> None:
    while True:
        number = source.get()
        if number % prime:
            out.put(number)


def sieve(n: int) -> list[int]:
    primes = []
    ch = Channel()
    chain = [gevent.spawn(generate, ch)]
    for _ in range(n):
        prime = ch.get()
        primes.append(prime)
        out = Channel()
        chain.append(gevent.spawn(sift, ch, out, prime))
        ch = out
    chains.append(chain)
    return primes


n = size(300)
chains: list[list[gevent.Greenlet]] = []
sieve(n // 10)
start = perf_counter()
primes = sieve(n)
seconds = perf_counter() - start
report("sieve", "gevent", n, seconds, ns_per_hop=seconds / sieve_hops(primes) * 1e9)
