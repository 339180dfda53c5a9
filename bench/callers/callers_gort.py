"""The PCs of a stack twenty calls deep."""

from time import perf_counter

from common import report, size
from gort.runtime import callers


def deep(calls: int, n: int) -> float:
    if calls:
        return deep(calls - 1, n)
    start = perf_counter()
    for _ in range(n):
        callers(1, 20)
    return perf_counter() - start


n = size(100_000)
deep(20, n // 10)
report("callers", "gort", n, deep(20, n))
