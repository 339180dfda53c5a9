"""What a program does to the figures of MemStats."""

import gc
import threading  # noqa: F401  # as the first goroutine would

from gort import chan, runtime
from gort.sync import WaitGroup


class Tree:
    def __init__(self, depth):
        self.left = Tree(depth - 1) if depth else None
        self.right = Tree(depth - 1) if depth else None


def grown(old, new):
    kib = (new.heap_alloc - old.heap_alloc) >> 10
    return "little" if abs(kib) < 200 else "much"


start = runtime.read_mem_stats()
tree = Tree(12)
full = runtime.read_mem_stats()
print("a tree:", grown(start, full), "more,", full.heap_objects - start.heap_objects > 8000)
del tree
gc.collect()
print("without:", grown(start, runtime.read_mem_stats()))

results, wg = chan(4), WaitGroup()
for _ in range(4):
    wg.go(lambda: results.send(Tree(10)))
trees = [results.recv() for _ in range(4)]
wg.wait()
print("from goroutines:", grown(start, runtime.read_mem_stats()))
del trees
gc.collect()
end = runtime.read_mem_stats()
print("without:", grown(start, end))
print("total only grows:", end.total_alloc - start.total_alloc > full.heap_alloc - start.heap_alloc)
print("adds up:", end.heap_sys == end.heap_idle + end.heap_inuse, end.alloc == end.heap_alloc)
