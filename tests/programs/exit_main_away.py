"""Main ends on another thread than the main one, which a busy goroutine occupies.

That goroutine must not run on while the interpreter is taken apart.
"""

#: exit 0
import gort
from gort import go
from gort._core import _thread_stats, goroutines
from gort.time import sleep


def busy(ch):
    ch.recv()  # parks: known not to block, so it may go on on the main thread
    kept = []
    while True:
        kept.append([None] * 1000)
        if len(kept) > 10000:
            kept.clear()


ch = gort.chan()
go(busy, ch)
while not any(g.wait_reason == "chan receive" for g in goroutines()):
    sleep(0.001)
ch.close()
while _thread_stats().main_moves == 0:
    sleep(0.05)
print("main was moved:", _thread_stats().main_moves > 0)
