"""The concurrent prime sieve: a chain of goroutines, one for each prime, joined by unbuffered channels."""

from time import perf_counter

from common import report, sieve_hops, size
from gort import Chan, chan, go


def generate(out: Chan[int]) -> None:
    number = 2
    while True:
        out.send(number)
        number += 1


def sift(source: Chan[int], out: Chan[int], prime: int) -> None:
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
report("sieve", "gort", n, seconds, ns_per_hop=seconds / sieve_hops(primes) * 1e9)
