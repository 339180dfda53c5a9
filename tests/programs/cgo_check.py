#: exit python=1 gort=2
# Memory with a pointer to an object is handed to C.
import ctypes

from gort import cgo

libc = cgo.wrap(ctypes.CDLL(None))
libc.memset((ctypes.py_object * 1)("x"), 0, 0)
