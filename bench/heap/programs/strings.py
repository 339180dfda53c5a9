"""Text of many lengths: built, split, joined and replaced. A window of it stays alive."""

from __future__ import annotations

N = 300_000  # texts


def run(n: int) -> int:
    window: list[str] = [""] * 20_000
    total = 0
    for i in range(n):
        words = [f"{k}x{i}" for k in range(i % 12)]
        line = " ".join(words) + "-" * (i % 300)
        text = line.replace("x", "yz").upper()
        total += len(text.split(" ")) + len(text.encode())
        window[i * 48271 % 2147483647 % len(window)] = text
    return total + sum(map(len, window))
