#: env GODEBUG=cgocheck=2
#: exit python=1 gort=2
# Memory of numbers, one of which is the address of an object.
import ctypes

from gort import cgo

libc = cgo.wrap(ctypes.CDLL(None))
things = ["a list"]
libc.memset((ctypes.c_size_t * 2)(1, 2), 0, 0)
print("numbers pass", flush=True)
libc.memset((ctypes.c_size_t * 2)(1, id(things)), 0, 0)
