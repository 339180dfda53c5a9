"""When main returns the others are abandoned, finally blocks and all; atexit runs, buffers are flushed."""

import atexit

from gort import chan, go
from gort.runtime import gosched


def worker():
    try:
        print("worker starts")
        chan().recv()
    finally:
        print("worker's finally")


atexit.register(print, "atexit")
go(worker)
gosched()
print("main returns")
