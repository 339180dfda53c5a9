"""allocfreetrace: each block of the heap, when it comes and when it goes; collections too."""
#: env GODEBUG=allocfreetrace=1

import ctypes
import os

from gort import _core, chan, go

lib = ctypes.PyDLL(os.environ["CLIB"])


def allocate():
    lib.unclobbered(20_000, 0)  # no other block here has this size


def waiter(c):
    c.recv()


c = chan()
go(waiter, c)
allocate()
_core._trace_gc()
c.send(None)
