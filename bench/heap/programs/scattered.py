"""A gigabyte of objects, of which one in a thousand stays: there are survivors in nearly every megabyte."""

from __future__ import annotations

import random

N = 3_300_000  # nodes: about 320 bytes each


class Node:
    __slots__ = ("links", "name", "values")

    def __init__(self, number: int, before: Node | None) -> None:
        self.name = f"node number {number}"
        self.links = [before]
        self.values = {"number": number}


def build(n: int) -> list[Node]:
    """Each node refers to an older one, so that those that are dropped need no collection."""
    nodes: list[Node] = []
    before = None
    for i in range(n):
        nodes.append(Node(i, before))
        before = nodes[i * 48271 % 2147483647 % (i + 1)]
    return nodes


def survivors(nodes: list[Node]) -> list[Node]:
    """The nodes that stay, without their links; the others end with `nodes`."""
    kept = random.Random(7).sample(nodes, max(1, len(nodes) // 1000))
    for node in kept:
        node.links.clear()
    return kept
