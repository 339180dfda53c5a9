"""Tuples, lists and iterators unpacked to names."""

from __future__ import annotations

N = 2_500_000  # rounds


def run(n: int) -> int:
    pair, row, items = (1, 2), (1, 2, 3, 4, 5, 6, 7, 8), [1, 2, 3, 4]
    total = 0
    for i in range(n):
        a, b = pair
        c, d, e, f, g, h, j, k = row
        p, q, r, s = items
        first, *rest, last = row
        a, b = b, a
        (x, y), z = (i, a), b
        total += a + c + k + s + len(rest) + last + x + y + z
    return total
