"""A thread of a C library is in a call that could end in a callback, ends without one, and main is dead."""
#: exit 2
#: timeout 120

import ctypes

from gort import chan

libc = ctypes.CDLL(None)
thread = ctypes.c_ulong()
assert libc.pthread_create(ctypes.byref(thread), None, libc.sleep, ctypes.c_void_p(1)) == 0
print("starts", flush=True)
chan().recv()
