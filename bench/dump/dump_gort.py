"""The text of many parked goroutines."""

from time import perf_counter

from common import report, size
from gort import Chan, chan, go
from gort.runtime import stack
from gort.sync import WaitGroup


def task(ready: WaitGroup, release: Chan[None]) -> None:
    ready.done()
    release.recv()


n = size(100_000)
ready, release = WaitGroup(), chan()
ready.add(n)
for _ in range(n):
    go(task, ready, release)
ready.wait()
start = perf_counter()
text = stack(all=True)
seconds = perf_counter() - start
assert text.count("[chan receive]") >= n, text[:1000]
report("dump", "gort", n, seconds, total_ms=seconds * 1e3)
