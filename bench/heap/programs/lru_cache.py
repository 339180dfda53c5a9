"""A cache that runs for long: entries are looked up, made, and forgotten when they are the oldest."""

from __future__ import annotations

from collections import OrderedDict

N = 400_000  # lookups
LIMIT = 50_000  # entries


class Entry:
    def __init__(self, key: int) -> None:
        self.key = key
        self.body = bytes(key % 400)
        self.headers = {"key": str(key), "length": len(self.body)}
        self.owner: Entry | None = None


def run(n: int) -> int:
    cache: OrderedDict[int, Entry] = OrderedDict()
    limit = min(LIMIT, n // 4 + 1)
    hits = total = 0
    x = 1
    for _ in range(n):
        x = x * 48271 % 2147483647
        # Half of the lookups go to a twentieth of the keys.
        key = x // 2 % (limit // 5 + 1) if x % 2 else x % (limit * 4)
        entry = cache.get(key)
        if entry is not None:
            cache.move_to_end(key)
            hits += 1
            continue
        entry = cache[key] = Entry(key)
        if key % 10 == 0:
            entry.owner = entry  # the collector has to find this one
        if len(cache) > limit:
            _, oldest = cache.popitem(last=False)
            total += len(oldest.body)
    return hits + total
