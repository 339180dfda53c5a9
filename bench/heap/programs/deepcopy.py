"""copy.deepcopy of nested settings, with objects that define their own copying among them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

N = 9_000  # copies


@dataclass
class Rule:
    name: str
    limits: list[int] = field(default_factory=list)
    parent: Rule | None = None


class Shared:
    """Is never copied."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        return self


def settings() -> dict[str, Any]:
    top = Rule("top", [1, 2, 3])
    return {
        "rules": [Rule(f"rule {i}", [i, i + 1], top) for i in range(8)],
        "names": {f"name {i}": (i, [f"alias {i}"]) for i in range(8)},
        "shared": Shared(),
        "set": {1, 2, 3},
    }


def run(n: int) -> int:
    original = current = settings()
    total = 0
    for i in range(n):
        current = copy.deepcopy(current)
        current["rules"][i % 8].limits.append(i)
        total += len(current["rules"][(i + 3) % 8].limits)
        if i % 64 == 63:
            current = original
    return total
