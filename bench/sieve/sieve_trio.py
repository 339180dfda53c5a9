"""The concurrent prime sieve: a chain of tasks, one for each prime, joined by unbuffered channels."""

from time import perf_counter

import trio

from common import report, sieve_hops, size


async def generate(out: trio.MemorySendChannel[int]) -> None:
    number = 2
    while True:
        await out.send(number)
        number += 1


async def sift(source: trio.MemoryReceiveChannel[int], out: trio.MemorySendChannel[int], prime: int) -> None:
    while True:
        number = await source.receive()
        if number % prime:
            await out.send(number)


async def sieve(n: int) -> list[int]:
    primes = []
    async with trio.open_nursery() as nursery:
        out, source = trio.open_memory_channel[int](0)
        nursery.start_soon(generate, out)
        for _ in range(n):
            prime = await source.receive()
            primes.append(prime)
            out, following = trio.open_memory_channel[int](0)
            nursery.start_soon(sift, source, out, prime)
            source = following
        nursery.cancel_scope.cancel()
    return primes


async def main() -> None:
    await sieve(n // 10)
    start = perf_counter()
    primes = await sieve(n)
    seconds = perf_counter() - start
    report("sieve", "trio", n, seconds, ns_per_hop=seconds / sieve_hops(primes) * 1e9)


n = size(300)
trio.run(main)
