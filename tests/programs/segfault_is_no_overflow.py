"""A fault elsewhere is not called a stack overflow: the process dies by the signal."""
#: exit SIGSEGV

import ctypes

from gort import chan, go

go(ctypes.string_at, 8)
chan().recv()
