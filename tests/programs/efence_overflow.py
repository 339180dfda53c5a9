"""efence: a C extension writes behind the end of a block, and dies of it."""
#: env GODEBUG=efence=1
#: exit SIGSEGV

import ctypes
import os

import gort  # noqa: F401

lib = ctypes.PyDLL(os.environ["CLIB"])
lib.write_beyond.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
lib.write_beyond(112, 0)
