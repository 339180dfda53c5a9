#: env GODEBUG=cgocheck=1
# Goroutines in C, and back in Python from there.
import ctypes
import os

from gort import cgo, chan, go, runtime

lib = cgo.wrap(ctypes.CDLL(os.environ["CLIB"]))
results = chan()


@cgo.callback(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int))
def double(n):
    results.send(n)
    return 2 * n


def body(n):
    results.send(lib.nested_outer(double, n))


for n in range(3):
    go(body, n)
print(sorted(results.recv() for _ in range(6)))
print(runtime.num_cgo_call(), "calls")
