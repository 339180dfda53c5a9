#: exit 2
# The main goroutine is parked in a callback for ever: nothing counts as blocked in C.
import ctypes
import os

from gort import cgo, chan

lib = cgo.wrap(ctypes.CDLL(os.environ["CLIB"]))


@cgo.callback(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int))
def wait(n):
    chan().recv()
    return n


cgo.enable_traceback()
lib.nested_outer(wait, 1)
