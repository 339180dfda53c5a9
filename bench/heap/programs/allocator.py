"""Small programs that do little but allocate and free, for the allocator alone: the collector is off."""

from __future__ import annotations

import json
from collections.abc import Callable


class Point:
    __slots__ = ("x", "y", "z")

    def __init__(self, x: int, y: str, z: list[int]) -> None:
        self.x, self.y, self.z = x, y, z


def graph(scale: float) -> None:
    """objects that are all alive, then dropped"""
    for _ in range(3):
        _points = [Point(i, str(i), [i]) for i in range(int(200_000 * scale))]


def dicts(scale: float) -> None:
    """dicts of tuples"""
    for _ in range(10):
        table = {}
        for i in range(int(50_000 * scale)):
            table[f"k{i}"] = (i, i + 1)


def strings(scale: float) -> None:
    """strings of many lengths, few alive"""
    for i in range(int(150_000 * scale)):
        words = [("x" * (i % 700)) + "y", f"a{i}", "b" * (i % 40)]
        _text = " ".join(words)


def json_(scale: float) -> None:
    """text to objects and back"""
    entries = range(int(20_000 * scale))
    text = json.dumps([{"id": i, "name": f"n{i}", "tags": ["a", str(i)], "v": i * 1.5} for i in entries])
    for _ in range(4):
        json.dumps(json.loads(text))


def numbers(scale: float) -> None:
    """integers that live for a moment"""
    total, x = 0, 1 << 40
    for i in range(int(1_500_000 * scale)):
        total = (total + x * i) & ((1 << 60) - 1)


def churn(scale: float) -> None:
    """blocks up to 1.5 KB, replaced in no order"""
    window: list[bytes] = [b""] * 5000
    place = 1
    for _ in range(int(500_000 * scale)):
        place = place * 48271 % 2147483647
        window[place % 5000] = bytes(place % 1500)


def growth(scale: float) -> None:
    """large lists and byte strings"""
    for _ in range(3):
        items: list[int] = []
        for i in range(int(1_500_000 * scale)):
            items.append(i)
        data = bytearray()
        for _ in range(int(300 * scale)):
            data += bytes(50_000)


PROGRAMS: dict[str, Callable[[float], None]] = {
    "graph": graph,
    "dicts": dicts,
    "strings": strings,
    "json": json_,
    "numbers": numbers,
    "churn": churn,
    "growth": growth,
}
