"""A graph of objects with slots: a label, a neighbour and a list of what lies near. All are alive at once,
then dropped."""

from __future__ import annotations

N = 1_000_000  # nodes, all of them alive


class Node:
    __slots__ = ("label", "near", "neighbour")

    def __init__(self, label: str, neighbour: Node | None, near: list[Node | None]) -> None:
        self.label, self.neighbour, self.near = label, neighbour, near


def build(n: int) -> list[Node]:
    """Everything refers to what is older, so that dropping the list is enough."""
    nodes: list[Node] = []
    node = None
    for i in range(n):
        node = Node(str(i), node if i % 1000 else None, [nodes[i // 2] if nodes else None])
        nodes.append(node)
    return nodes


def run(n: int) -> int:
    nodes = build(n)
    return len(nodes) + len(nodes[-1].label)
