"""A producer and a consumer, joined by a memory channel of 128 elements."""

from time import perf_counter

import trio

from common import report, size


async def produce(n: int, channel: trio.MemorySendChannel[int]) -> None:
    async with channel:
        for i in range(n):
            await channel.send(i)


async def consume(n: int, channel: trio.MemoryReceiveChannel[int]) -> None:
    received = 0
    async for _ in channel:
        received += 1
    assert received == n


async def run(n: int) -> None:
    send, receive = trio.open_memory_channel[int](128)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce, n, send)
        nursery.start_soon(consume, n, receive)


async def main() -> None:
    await run(n // 10)
    start = perf_counter()
    await run(n)
    report("prodcons", "trio", n, perf_counter() - start)


n = size(1_000_000)
trio.run(main)
