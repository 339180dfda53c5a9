"""The concurrent prime sieve: a chain of threads, one for each prime, joined by queues of one element."""

import threading
from queue import Queue
from time import perf_counter

from common import report, sieve_hops, size


def generate(out: Queue[int]) -> None:
    number = 2
    while True:
        out.put(number)
        number += 1


def sift(source: Queue[int], out: Queue[int], prime: int) -> None:
    while True:
        number = source.get()
        if number % prime:
            out.put(number)


def sieve(n: int) -> list[int]:
    primes = []
    queue: Queue[int] = Queue(1)
    threading.Thread(target=generate, args=(queue,), daemon=True).start()
    for _ in range(n):
        prime = queue.get()
        primes.append(prime)
        out: Queue[int] = Queue(1)
        threading.Thread(target=sift, args=(queue, out, prime), daemon=True).start()
        queue = out
    return primes


n = size(300)
sieve(n // 10)
start = perf_counter()
primes = sieve(n)
seconds = perf_counter() - start
report("sieve", "threads", n, seconds, ns_per_hop=seconds / sieve_hops(primes) * 1e9)
