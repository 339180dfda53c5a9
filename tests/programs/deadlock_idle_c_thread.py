"""A thread of a C library that waits until others let it go on, like OpenBLAS workers, wakes nobody."""
#: exit 2
#: timeout 120

import ctypes
import time

from gort import chan, go

libc = ctypes.CDLL(None)
semaphore = ctypes.create_string_buffer(64)
assert libc.sem_init(semaphore, 0, 0) == 0
thread = ctypes.c_ulong()
assert libc.pthread_create(ctypes.byref(thread), None, libc.sem_wait, semaphore) == 0
go(time.sleep, 0.1)
chan().recv()
