"""Dicts whose keys and values are tuples: filled, joined, and emptied again."""

from __future__ import annotations

N = 400_000  # entries


def run(n: int) -> int:
    table: dict[tuple[int, int], tuple[int, str, float]] = {}
    for i in range(n):
        table[i % 1000, i // 1000] = (i, f"value {i}", i * 0.5)
    rows: dict[int, dict[int, tuple[int, str, float]]] = {}
    for (column, row), value in table.items():
        rows.setdefault(row, {})[column] = value
    total = 0
    for row, cells in rows.items():
        total += sum(number for number, _, _ in cells.values()) + row
    swapped = {(row, column): (value, column) for (column, row), value in table.items()}
    for key in list(swapped)[::2]:
        total += swapped.pop(key)[1]
    for i in range(n):
        pair = (i, n - i)
        table[pair] = (i, "", 0.0)
        if i % 3:
            del table[pair]
    return total + len(table) + len(swapped)
