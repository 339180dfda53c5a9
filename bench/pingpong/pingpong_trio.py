"""Round trips over two unbuffered memory channels."""

from time import perf_counter

import trio

from common import report, size


async def ping(n: int, a: trio.MemorySendChannel[int], b: trio.MemoryReceiveChannel[int]) -> None:
    for _ in range(n):
        await a.send(1)
        await b.receive()


async def pong(n: int, a: trio.MemoryReceiveChannel[int], b: trio.MemorySendChannel[int]) -> None:
    for _ in range(n):
        await b.send(await a.receive())


async def run(n: int) -> None:
    a_send, a_receive = trio.open_memory_channel[int](0)
    b_send, b_receive = trio.open_memory_channel[int](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pong, n, a_receive, b_send)
        nursery.start_soon(ping, n, a_send, b_receive)


async def main() -> None:
    await run(n // 10)
    start = perf_counter()
    await run(n)
    report("pingpong", "trio", n, perf_counter() - start)


n = size(300_000)
trio.run(main)
