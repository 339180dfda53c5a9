"""clobberfree: what a C extension finds in memory that it has freed."""
#: env GODEBUG=clobberfree=1

import ctypes
import os

import gort  # noqa: F401

lib = ctypes.PyDLL(os.environ["CLIB"])
lib.read_after_free.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
print([hex(lib.read_after_free(100, at)) for at in range(4)])
print([hex(lib.read_after_free(100_000, at)) for at in range(99_996, 100_000)])
