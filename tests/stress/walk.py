"""Walks stacks at random times while a program calls, raises, recurses, yields, imports and collects garbage.

    python tests/stress/walk.py [SECONDS] [SEED]

No crash, and no frame that was never on the stack: first the program runs under a profile function that
learns which function calls which, then under a signal every 100 us in every thread, and only pairs that
were learned may be seen.
"""

import gc
import importlib
import json
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from gort import _core, chan, go
from gort.runtime import gosched
from gort.sync import Mutex, WaitGroup
from gort.time import sleep

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
NAME = 55  # what the core keeps of a name

edges: set[tuple[str, str]] = set()
one_import = Mutex()
# Python calls these from wherever it is: what called them cannot be learned.
ANYWHERE = {"Node.__del__", "on_collect"}


class Node:
    """Garbage with a finalizer that is Python code."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        json.dumps([1, 2])


def on_collect(phase: str, info: dict[str, int]) -> None:
    len(phase)


def recurse(n: int) -> int:
    return recurse(n - 1) + 1 if n else 0


def fail(n: int) -> None:
    if n:
        fail(n - 1)
    raise LookupError(n)


def catch() -> None:
    try:
        fail(7)
    except LookupError:
        recurse(3)


def numbers(n: int) -> Iterator[int]:
    i = 0
    while i < n:
        yield i
        i += 1


def chain() -> None:
    sum(x + 1 for x in (y * 2 for y in numbers(20)))
    list(map(recurse, range(3)))
    sorted(range(20), key=lambda x: recurse(2) + x)


def delegate() -> Iterator[int]:
    yield from numbers(5)


def temporary() -> None:
    """Code that dies at once."""
    space: dict[str, Any] = {}
    exec(compile("def gone(n): return gone(n - 1) if n else 0\ngone(4)", "gone.py", "exec"), space)


def importing() -> None:
    with one_import:  # a reload takes the module out of sys.modules for a moment
        importlib.reload(sys.modules["colorsys"])


def garbage() -> None:
    for _ in range(20):
        Node()
    gc.collect(0)


def text() -> None:
    json.loads(json.dumps({"a": [1, 2, {"b": None}] * 5}, indent=1))
    re.compile("a(b|c)*d").match("abcbcd")


def switch() -> None:
    ch = chan()
    go(ch.send, 1)
    ch.recv()
    gosched()


WORK: list[Callable[[], Any]] = [
    lambda: recurse(30), catch, chain, lambda: list(delegate()), temporary, importing, garbage, text, switch,
]  # fmt: skip


def worker(seed: int, until: float, rounds: int, wg: WaitGroup) -> None:
    rng = random.Random(seed)
    while rounds > 0 or time.monotonic() < until:
        rounds -= 1
        rng.choice(WORK)()
    wg.done()


def run(until: float, rounds: int) -> None:
    wg = WaitGroup()
    for i in range(6):
        wg.add(1)
        go(worker, SEED + i, until, rounds, wg)
    wg.wait()


def learn(frame: FrameType, event: str, arg: object) -> None:
    if event == "call" and frame.f_back is not None:
        edges.add((frame.f_code.co_qualname[:NAME], frame.f_back.f_code.co_qualname[:NAME]))


def main() -> None:
    import colorsys  # noqa: F401

    gc.callbacks.append(on_collect)
    threading.setprofile(learn)
    run(0, 300)
    threading.setprofile(None)
    sleep(0.1)
    learned = edges | {("main", "<module>"), ("run", "main")}
    print(f"seed {SEED}: {len(learned)} pairs learned", flush=True)
    _core._walk_start(100e-6)
    run(time.monotonic() + SECONDS, 0)
    samples, dropped, seen = _core._walk_stop()
    wrong = [
        (callee, caller, times)
        for callee, caller, times in seen
        if (callee, caller) not in learned and callee not in ANYWHERE
    ]
    print(f"{samples} samples, {dropped} dropped, {len(seen)} pairs seen", flush=True)
    for callee, caller, times in wrong:
        print(f"{callee} was never called by {caller}; seen {times} times")
    if wrong or not samples:
        sys.exit(1)


main()
