"""efence: a C extension reads a block that it has freed, and dies of it."""
#: env GODEBUG=efence=1
#: exit SIGSEGV

import ctypes
import os

from gort import chan, go

lib = ctypes.PyDLL(os.environ["CLIB"])
lib.read_after_free.argtypes = [ctypes.c_size_t, ctypes.c_size_t]


def worker():
    lib.read_after_free(100, 50)


go(worker)
chan().recv()
