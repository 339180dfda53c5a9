"""A bytearray that grows to a gigabyte by appends, then a list that takes nearly one with its integers."""

from __future__ import annotations

N = 1 << 30  # bytes of the bytearray


def run(n: int) -> int:
    piece = bytes(range(256)) * 64
    data = bytearray()
    while len(data) < n:
        data += piece
    total = len(data) + data[n // 2]
    del data
    items: list[int] = []
    for i in range(n // 48):  # a reference is 8 bytes, an integer 32 in its block, the list has some to spare
        items.append(i)
    return total + items[-1] if items else total
