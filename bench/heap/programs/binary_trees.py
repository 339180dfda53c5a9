"""Complete binary trees: many that are dropped at once, and a large one that stays alive beside them."""

from __future__ import annotations

N = 19  # levels of the tallest tree


class Tree:
    __slots__ = ("left", "right")

    def __init__(self, left: Tree | None, right: Tree | None) -> None:
        self.left = left
        self.right = right


def grow(levels: int) -> Tree:
    return Tree(grow(levels - 1), grow(levels - 1)) if levels else Tree(None, None)


def count(tree: Tree) -> int:
    return 1 + count(tree.left) + count(tree.right) if tree.left and tree.right else 1


def run(n: int) -> int:
    stays = grow(n)
    total = 0
    for levels in range(4, n, 4):
        for _ in range(1 << max(n - levels - 1, 0)):
            total += count(grow(levels))
    return total + count(stays)
