"""The spectral norm of the matrix 1 / ((i + j) (i + j + 1) / 2 + i + 1), by the power method."""

from __future__ import annotations

from math import sqrt

N = 330  # rows


def element(i: int, j: int) -> float:
    return 1.0 / ((i + j) * (i + j + 1) // 2 + i + 1)


def times(vector: list[float]) -> list[float]:
    return [sum(element(i, j) * x for j, x in enumerate(vector)) for i in range(len(vector))]


def times_transposed(vector: list[float]) -> list[float]:
    return [sum(element(j, i) * x for j, x in enumerate(vector)) for i in range(len(vector))]


def run(n: int) -> int:
    u = v = [1.0] * n
    for _ in range(10):
        v = times_transposed(times(u))
        u = times_transposed(times(v))
    above = sum(a * b for a, b in zip(u, v, strict=True))
    below = sum(b * b for b in v)
    return int(sqrt(above / below) * 1e9)
