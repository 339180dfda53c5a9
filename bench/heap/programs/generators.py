"""A tree of coroutines, each of which waits for its six children, driven by a loop of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Generator
from typing import Any

N = 7  # levels of the tree


class Pause:
    def __await__(self) -> Generator[None, None, None]:
        yield


class Task:
    """A coroutine that runs on its own; await gives its result."""

    def __init__(self, loop: Loop, work: Coroutine[Any, Any, int]) -> None:
        self.work = work
        self.result: int | None = None
        loop.ready.append(self)

    def step(self) -> bool:
        """False: it has ended."""
        try:
            self.work.send(None)
        except StopIteration as end:
            self.result = end.value
            return False
        return True

    def __await__(self) -> Generator[None, None, int]:
        while self.result is None:
            yield
        return self.result


class Loop:
    def __init__(self) -> None:
        self.ready: deque[Task] = deque()

    def run(self, work: Coroutine[Any, Any, int]) -> int:
        task = Task(self, work)
        while self.ready:
            current = self.ready.popleft()
            if current.step():
                self.ready.append(current)
        assert task.result is not None
        return task.result


async def node(loop: Loop, levels: int, number: int) -> int:
    if not levels:
        await Pause()
        return number % 7
    children = [Task(loop, node(loop, levels - 1, number * 6 + i)) for i in range(6)]
    return sum([await child for child in children])


def run(n: int) -> int:
    loop = Loop()
    return loop.run(node(loop, n, 1)) + sum(value for value in walk(n, 1))


def walk(levels: int, number: int) -> Generator[int, None, None]:
    """The same tree by generators that hand on what their children yield."""
    if not levels:
        yield number % 5
        return
    for i in range(6):
        yield from walk(levels - 1, number * 6 + i)
