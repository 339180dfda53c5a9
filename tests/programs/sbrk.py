"""sbrk: nothing is freed, and the collector does not run by itself."""
#: env GODEBUG=sbrk=1

import gc

from gort import runtime


class Cycle:
    def __init__(self):
        self.me = self


collections = gc.get_stats()
before = runtime.read_mem_stats()
for i in range(10_000):
    Cycle()
    text = str(i) * 100
after = runtime.read_mem_stats()
print("frees:", after.frees)
print("allocated:", after.heap_alloc - before.heap_alloc > 10_000 * 400)
print("collected:", gc.get_stats() != collections)
