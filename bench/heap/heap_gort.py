"""The heap against CPython's allocator, the collector off.

    python bench/heap/heap_gort.py [ROUNDS [PROGRAM ...]]

Each program runs in processes of its own, alternating with and without GORT_HEAP=1, and keeps its best time.
Prints both in seconds, and the ratio.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable


class Point:
    __slots__ = ("x", "y", "z")

    def __init__(self, x: int, y: str, z: list[int]) -> None:
        self.x, self.y, self.z = x, y, z


def graph() -> None:
    """Objects that are all alive, then all dropped."""
    for _ in range(3):
        _points = [Point(i, str(i), [i]) for i in range(200_000)]


def dicts() -> None:
    """Dicts of tuples."""
    for _ in range(10):
        table = {}
        for i in range(50_000):
            table[f"k{i}"] = (i, i + 1)


def strings() -> None:
    """Strings of many lengths, few alive."""
    for i in range(150_000):
        words = [("x" * (i % 700)) + "y", f"a{i}", "b" * (i % 40)]
        _text = " ".join(words)


def json_() -> None:
    """Text to objects and back."""
    text = json.dumps(
        [{"id": i, "name": f"n{i}", "tags": ["a", str(i)], "v": i * 1.5} for i in range(20_000)]
    )
    for _ in range(4):
        json.dumps(json.loads(text))


def numbers() -> None:
    """Numbers that live for a moment."""
    total, x = 0, 1 << 40
    for i in range(1_500_000):
        total = (total + x * i) & ((1 << 60) - 1)


def churn() -> None:
    """A window of live blocks of many sizes, replaced in no order."""
    window: list[bytes] = [b""] * 5000
    place = 1
    for _ in range(500_000):
        place = place * 48271 % 2147483647
        window[place % 5000] = bytes(place % 1500)


def growth() -> None:
    """Large lists and byte strings that grow."""
    for _ in range(3):
        items: list[int] = []
        for i in range(1_500_000):
            items.append(i)
        data = bytearray()
        for _ in range(300):
            data += bytes(50_000)


PROGRAMS: dict[str, Callable[[], None]] = {
    "graph": graph,
    "dicts": dicts,
    "strings": strings,
    "json": json_,
    "numbers": numbers,
    "churn": churn,
    "growth": growth,
}


def measure(name: str) -> None:
    import gc

    import gort  # noqa: F401

    gc.disable()
    best = 1e9
    for _ in range(3):
        start = time.process_time()
        PROGRAMS[name]()
        best = min(best, time.process_time() - start)
    print(best)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name in sys.argv[2:] or PROGRAMS:
        best = {"0": 1e9, "1": 1e9}
        for i in range(2 * rounds):
            heap = str(i % 2)
            command = [sys.executable, __file__, "--measure", name]
            run = subprocess.run(
                command, env={**os.environ, "GORT_HEAP": heap}, stdout=subprocess.PIPE, check=True
            )
            best[heap] = min(best[heap], float(run.stdout))
        print(f"{name:8} {best['0']:.3f} {best['1']:.3f} {best['1'] / best['0']:.2f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2])
    else:
        main()
