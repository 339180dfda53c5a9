"""Generators, coroutines and whole asyncio programs inside goroutines."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest

import gort
from gort import chan, go
from gort.runtime import gosched
from gort.sync import WaitGroup
from gort.time import sleep
from harness import isolated
from helpers import must_recv, wait_until_freed, wait_until_parked


def test_a_running_loop_ends_with_its_goroutine() -> None:
    """Its thread state is used again, and asyncio remembers the loop in it or by it."""

    async def answer() -> int:
        return 42

    for _ in range(3):
        loop = asyncio.new_event_loop()
        freed = weakref.ref(loop)
        gort.run(asyncio._set_running_loop, loop)
        loop.close()
        del loop
        wait_until_freed(freed)
        assert gort.run(asyncio.run, answer()) == 42


@isolated()
def test_generators_park() -> None:
    ch, wg, sums = chan(3), WaitGroup(), []

    def numbers(n: int) -> Iterator[int]:
        for i in range(n):
            gosched()
            yield i
            ch.send(i)
            ch.recv()

    def chained(n: int) -> Iterator[int]:
        yield from numbers(n)
        yield from (value for value in numbers(n))

    for _ in range(100):
        wg.go(lambda: sums.append(sum(chained(20))))
    wg.wait()
    assert sums == [2 * sum(range(20))] * 100


@isolated()
def test_generator_moves_between_goroutines() -> None:
    """A generator that one goroutine started is resumed by others, and by a thread."""
    import threading

    def numbers() -> Iterator[int]:
        for i in range(300):
            try:
                gosched()
            finally:
                yield i

    shared, got = numbers(), []
    for _ in range(100):
        gort.run(lambda: got.append(next(shared)))
        got.append(next(shared))
        thread = threading.Thread(target=lambda: got.append(next(shared)))
        thread.start()
        thread.join()
    assert got == list(range(300))


@isolated()
def test_generator_parked_in_one_goroutine_refuses_another() -> None:
    gate = chan()

    def parked() -> Generator[Any, None, None]:
        yield gate.recv()

    generator, results = parked(), chan(1)
    go(lambda: results.send(next(generator)))
    wait_until_parked(1, "chan receive")
    with pytest.raises(ValueError, match="already executing"):
        next(generator)
    with pytest.raises(ValueError, match="already executing"):
        generator.close()
    gate.send("value")
    assert results.recv() == "value"
    assert next(generator, "end") == "end"


@isolated()
def test_generators_with_exceptions_in_flight() -> None:
    """What an except block handles stays with its generator and its goroutine across switches."""
    import sys

    wg = WaitGroup()

    def handler(n: int) -> Iterator[int]:
        try:
            raise ValueError(n)
        except ValueError as error:
            for _ in range(5):
                gosched()
                assert sys.exc_info()[1] is error
                yield n
                assert sys.exc_info()[1] is error

    def work(n: int) -> None:
        nothing: dict[None, int] = {}
        for value in handler(n):
            assert sys.exc_info()[0] is None
            gosched()
            assert value == n
            with contextlib.suppress(KeyError):
                nothing[gosched()]

    for n in range(50):
        wg.go(work, n)
    wg.wait()


@isolated()
def test_abandoned_generator_is_closed_in_the_goroutine_that_drops_it() -> None:
    log = []

    def generator() -> Iterator[int]:
        try:
            yield 1
        finally:
            gosched()
            log.append("closed")

    def body() -> None:
        generator_ = generator()
        next(generator_)

    gort.run(body)
    gc.collect()
    assert log == ["closed"]


@isolated()
def test_hand_driven_coroutines() -> None:
    """A coroutine is an object: goroutines may take turns in driving it."""

    class Yield:
        def __await__(self) -> Generator[str, str, str]:
            gosched()
            received = yield "suspended"
            return received

    async def inner() -> str:
        return await Yield()

    async def outer() -> list[str]:
        return [await inner() for _ in range(10)]

    def drive(coroutine: Any, value: Any) -> Any:
        return coroutine.send(value)

    coroutine = outer()
    assert gort.run(drive, coroutine, None) == "suspended"
    for i in range(9):
        assert gort.run(drive, coroutine, i) == "suspended"
    with pytest.raises(StopIteration) as stop:
        drive(coroutine, 9)
    assert stop.value.value == list(range(10))


async def program(n: int) -> int:
    """An ordinary asyncio program: tasks, queues, timeouts, async generators and threads."""
    items: asyncio.Queue[int] = asyncio.Queue(2)

    async def numbers() -> AsyncIterator[int]:
        for i in range(10):
            await asyncio.sleep(0.0005)
            yield i

    async def produce() -> None:
        async for i in numbers():
            await items.put(i)
        await items.put(-1)

    async def consume() -> int:
        total = 0
        while (value := await items.get()) >= 0:
            total += value
        return total

    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        consumer = group.create_task(consume())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)
    assert await asyncio.to_thread(pow, n, 2) == n * n
    reader, writer = await asyncio.open_connection(*await server())
    writer.write(b"hello\n")
    assert await reader.readline() == b"HELLO\n"
    writer.close()
    await writer.wait_closed()
    return consumer.result() + n


async def server() -> tuple[str, int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    serving = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = serving.sockets[0].getsockname()
    return host, port


@isolated()
def test_asyncio_in_main_beside_goroutines() -> None:
    stop, wg = [False], WaitGroup()

    def spin() -> None:
        while not stop[0]:
            gosched()

    wg.go(spin)
    assert asyncio.run(program(1)) == 46
    stop[0] = True
    wg.wait()


@isolated()
def test_asyncio_in_a_goroutine() -> None:
    for n in range(3):
        assert gort.run(lambda n=n: asyncio.run(program(n))) == 45 + n  # type: ignore[misc]
    assert asyncio.run(program(3)) == 48


@isolated()
def test_asyncio_in_many_goroutines_at_once() -> None:
    wg, results = WaitGroup(), []
    for n in range(10):
        wg.go(lambda n=n: results.append(asyncio.run(program(n))))  # type: ignore[misc]
    results.append(asyncio.run(program(10)))
    wg.wait()
    assert sorted(results) == [45 + n for n in range(11)]


@isolated()
def test_event_loops_are_per_goroutine() -> None:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        other = chan()
        go(lambda: other.send(has_loop()))
        gosched()
        assert await asyncio.to_thread(other.recv) is False
        return loop

    def has_loop() -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    loops = {id(gort.run(asyncio.run, main())) for _ in range(3)}
    assert loops
    assert not has_loop()


@isolated()
def test_channels_from_async_code() -> None:
    """A coroutine may use channels: directly where they do not block, in a thread where they do."""
    requests, replies = chan(), chan(10)

    def server() -> None:
        for value in requests:
            replies.send(value * 2)

    go(server)

    async def main() -> list[int]:
        await asyncio.gather(*(asyncio.to_thread(requests.send, i) for i in range(10)))
        return sorted([await asyncio.to_thread(must_recv, replies) for _ in range(10)])

    assert asyncio.run(main()) == [i * 2 for i in range(10)]


@isolated()
def test_goroutine_calls_into_a_running_loop() -> None:
    async def answer(n: int) -> int:
        await asyncio.sleep(0.001)
        return n + 1

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        results: asyncio.Queue[int] = asyncio.Queue()

        def ask(n: int) -> None:
            got = asyncio.run_coroutine_threadsafe(answer(n), loop).result()
            loop.call_soon_threadsafe(results.put_nowait, got)

        for n in range(10):
            go(ask, n)
        return sorted([await results.get() for _ in range(10)])

    assert asyncio.run(main()) == list(range(1, 11))


@isolated()
def test_async_generators_are_finalized() -> None:
    log = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    async def main() -> None:
        async for _ in numbers():
            break
        while not log:
            await asyncio.sleep(0.001)

    gort.run(asyncio.run, main())
    assert log == ["closed"]


@isolated()
def test_parked_generators_are_freed_with_their_goroutine() -> None:
    class Thing:
        pass

    refs, gate = [], chan()

    def generator() -> Iterator[Any]:
        thing = Thing()
        refs.append(weakref.ref(thing))
        yield gate.recv()

    wg = WaitGroup()
    for _ in range(100):
        wg.go(lambda: list(generator()))
    while len(refs) < 100:
        sleep(0.002)
    gc.collect()
    assert all(ref() is not None for ref in refs)
    gate.close()
    wg.wait()
    wait_until_freed(*refs)
