"""A wild pointer into the guard of its own stack is not an overflow: the process dies by the signal."""
#: exit SIGSEGV

import ctypes
import os

from gort import chan, go

PAGE = 4096


def body():
    lib = ctypes.CDLL(os.environ["CLIB"])
    lib.stack_address.restype = ctypes.c_size_t
    page = lib.stack_address() // PAGE * PAGE
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    try:
        while os.pread(memory, 1, page):
            page -= PAGE
    except OSError:
        pass
    ctypes.string_at(page + PAGE // 2)


go(body)
chan().recv()
