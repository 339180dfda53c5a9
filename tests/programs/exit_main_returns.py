"""When main returns the others are abandoned, finally blocks and all; atexit runs, buffers are flushed."""

import atexit

from gort import chan, go


def worker():
    try:
        print("worker starts")
        ready.send(None)
        chan().recv()
    finally:
        print("worker's finally")


atexit.register(print, "atexit")
ready = chan()
go(worker)
ready.recv()
print("main returns")
