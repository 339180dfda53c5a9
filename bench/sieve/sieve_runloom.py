"""The concurrent prime sieve: a chain of fibers, one for each prime, joined by unbuffered channels."""

import os
from time import perf_counter

import runloom

from common import report, sieve_hops, size


def generate(out: runloom.Chan) -> None:
    number = 2
    while True:
        out.send(number)
        number += 1


def sift(source: runloom.Chan, out: runloom.Chan, prime: int) -> None:
    while True:
        number, _ok = source.recv()
        if number % prime:
            out.send(number)


def sieve(n: int) -> list[int]:
    primes = []
    ch = runloom.Chan(0)
    runloom.fiber(generate, ch)
    for _ in range(n):
        prime, _ok = ch.recv()
        primes.append(prime)
        out = runloom.Chan(0)
        runloom.fiber(sift, ch, out, prime)
        ch = out
    return primes


def main() -> None:
    sieve(n // 10)
    start = perf_counter()
    primes = sieve(n)
    seconds = perf_counter() - start
    report("sieve", "runloom", n, seconds, ns_per_hop=seconds / sieve_hops(primes) * 1e9)
    os._exit(0)  # run() would wait for the chain


n = size(300)
runloom.run(1, main)
