"""A fault in C code: Python's frames of the goroutine that did it, then death by the signal."""
#: exit SIGSEGV

import ctypes

from gort import chan, go


def worker(address):
    read(address)


def read(address):
    return ctypes.string_at(address)


go(worker, 16)
chan().recv()
