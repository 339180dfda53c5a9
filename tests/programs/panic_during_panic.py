"""A traceback function that fails itself: said, and the process dies by the signal."""
#: exit SIGSEGV

import ctypes
import os

from gort import cgo, chan, go, runtime

lib = ctypes.CDLL(os.environ["CLIB"])
runtime.set_cgo_traceback(0, lib.bad_traceback, None, None)
go(cgo.call, ctypes.CDLL(None).memset, 16, 0, 8)
chan().recv()
