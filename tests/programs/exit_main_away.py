"""Main ends on another thread than the main one, which a busy goroutine occupies.

That goroutine must not run on while the interpreter is taken apart.
"""

#: exit 0
import gort
from gort import go
from gort._core import thread_stats
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
sleep(0.01)
ch.close()
sleep(0.05)
print("main was moved:", thread_stats().main_moves > 0)
