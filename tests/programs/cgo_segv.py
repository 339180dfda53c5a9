"""A fault in C shows the C functions, after cgo.enable_traceback()."""
#: exit SIGFPE

import ctypes
import os

from gort import cgo, chan, go

lib = ctypes.CDLL(os.environ["CLIB"])
cgo.enable_traceback()


def divide():
    cgo.call(lib.divide, 1, 0)


go(divide)
chan().recv()
