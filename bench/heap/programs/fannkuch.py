"""All permutations of n numbers: how often the front of each is turned round until 0 comes first."""

from __future__ import annotations

N = 9  # numbers


def flips(row: list[int]) -> int:
    row = row[:]
    times = 0
    while first := row[0]:
        row[: first + 1] = row[first::-1]
        times += 1
    return times


def run(n: int) -> int:
    row = list(range(n))
    counts = [0] * n
    most = total = 0
    sign = 1
    i = 0
    # Each exchange makes a new permutation, by the method that is called Heap's.
    while i < n:
        if i == 0:
            times = flips(row)
            most = max(most, times)
            total += sign * times
        if counts[i] < i:
            k = counts[i] if i % 2 else 0
            row[k], row[i] = row[i], row[k]
            counts[i] += 1
            sign = -sign
            i = 0
        else:
            counts[i] = 0
            i += 1
    return most * 1000 + total
