#: exit 2
# A goroutine panics while another one is in C, and a third in a callback.
import ctypes
import os

import gort.time
from gort import cgo, chan, go

lib = cgo.wrap(ctypes.CDLL(os.environ["CLIB"]))
inside = chan()


@cgo.callback(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int))
def park(n):
    inside.send(n)
    chan().recv()
    return n


def fail():
    raise ValueError("no good")


cgo.enable_traceback()
go(lib.sleep_us, 5_000_000)
go(lib.call, park, 1)
inside.recv()
gort.time.sleep(0.01)
go(fail)
chan().recv()
