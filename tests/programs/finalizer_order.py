"""Finalizers in the order of references, in trees and in cycles, and before __del__."""

import gc

from gort import chan
from gort.runtime import set_finalizer

ran = chan()


class Plain:
    def __init__(self, name, *children):
        self.name, self.children = name, list(children)
        set_finalizer(self, finalizer)


class Node(Plain):
    def __del__(self):
        print("del", self.name)


def finalizer(node):
    print("finalizer", node.name)


def settle():
    """Finalizers run one after the other: once this one has, those before it have."""
    node = Plain.__new__(Plain)
    set_finalizer(node, ran.send)
    del node
    ran.recv()


tree = Node("root", Node("child", Node("grandchild")))
del tree
for _ in range(3):
    settle()

gc.disable()
parent = Plain("parent", Plain("first"), Plain("second", Node("third")))
for child in parent.children:
    child.children.append(parent)
del parent, child
for n in range(5):
    print("collection", n + 1)
    gc.collect()
    settle()
