"""The concurrent prime sieve: a chain of tasks, one for each prime, joined by queues of one element."""

import asyncio
from time import perf_counter

from common import report, run_asyncio, sieve_hops, size


async def generate(out: asyncio.Queue[int]) -> None:
    number = 2
    while True:
        await out.put(number)
        number += 1


async def sift(source: asyncio.Queue[int], out: asyncio.Queue[int], prime: int) -> None:
    while True:
        number = await source.get()
        if number % prime:
            await out.put(number)


async def sieve(n: int) -> list[int]:
    primes = []
    queue: asyncio.Queue[int] = asyncio.Queue(1)
    chain = [asyncio.ensure_future(generate(queue))]
    for _ in range(n):
        prime = await queue.get()
        primes.append(prime)
        out: asyncio.Queue[int] = asyncio.Queue(1)
        chain.append(asyncio.ensure_future(sift(queue, out, prime)))
        queue = out
    for task in chain:
        task.cancel()
    return primes


async def main() -> None:
    global primes, seconds
    await sieve(n // 10)
    start = perf_counter()
    primes = await sieve(n)
    seconds = perf_counter() - start


n = size(300)
primes: list[int] = []
seconds = 0.0
contender = run_asyncio(main())
report("sieve", contender, n, seconds, ns_per_hop=seconds / sieve_hops(primes) * 1e9)
