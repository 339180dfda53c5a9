"""Objects with slots, with attributes and with lists, that refer to each other. All are alive at once, then
dropped; this happens twice."""

from __future__ import annotations

N = 1_000_000  # objects that the collector looks at, all of them alive


class Node:
    __slots__ = ("children", "label", "neighbour")

    def __init__(self, label: str, neighbour: Node | None) -> None:
        self.label = label
        self.neighbour = neighbour
        self.children: list[Leaf] = []


class Leaf:
    def __init__(self, owner: str, number: int) -> None:
        self.owner = owner
        self.place = [number, number + 1]
        self.weight = number * 0.5


def build(n: int) -> list[Node]:
    """A node and its list, three leaves with theirs: eight objects that the collector looks at, with a label
    and numbers. Everything refers to what is older, so that dropping the list is enough."""
    nodes: list[Node] = []
    neighbour = None
    for i in range(n // 8):
        node = Node(f"node {i}", neighbour)
        for k in range(3):
            node.children.append(Leaf(node.label, 3 * i + k))
        nodes.append(node)
        neighbour = nodes[i * 48271 % 2147483647 % (i + 1)]
    return nodes


def run(n: int) -> int:
    total = 0
    for _ in range(2):
        nodes = build(n)
        total += sum(leaf.place[1] for node in nodes for leaf in node.children)
        total += sum(len(node.neighbour.label) for node in nodes if node.neighbour)
        del nodes
    return total
