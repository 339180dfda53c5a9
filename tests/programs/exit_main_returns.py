"""When main returns the others are abandoned: their finally blocks do not run. atexit does, buffers are flushed."""

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
