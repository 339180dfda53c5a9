"""The concurrent prime sieve: a chain of goroutines, one for each prime, joined by unbuffered channels."""

import os
from time import perf_counter

from golang import chan, go

from common import pygolang, report, sieve_hops, size


def generate(out: chan) -> None:
    number = 2
    while True:
        out.send(number)
        number += 1


def sift(source: chan, out: chan, prime: int) -> None:
    while True:
        number = source.recv()
        if number % prime:
            out.send(number)


def sieve(n: int) -> list[int]:
    primes = []
    ch = chan()
    go(generate, ch)
    for _ in range(n):
        prime = ch.recv()
        primes.append(prime)
        out = chan()
        go(sift, ch, out, prime)
        ch = out
    return primes


n = size(300)
sieve(n // 10)
start = perf_counter()
primes = sieve(n)
seconds = perf_counter() - start
report("sieve", pygolang(), n, seconds, ns_per_hop=seconds / sieve_hops(primes) * 1e9)
os._exit(0)  # its threads are still sifting
