"""C functions stand in a stack between the Python functions that they called and that called them."""

import ctypes
import os

from gort import cgo, run, runtime

lib = cgo.wrap(ctypes.CDLL(os.environ["CLIB"]))
cgo.enable_traceback()
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)


@cgo.callback(CALLBACK)
def called_back(n):
    if n:
        return lib.nested_inner(called_back, n - 1)
    print(runtime.stack())
    return 0


def call():
    lib.nested_outer(called_back, 1)


run(call)
