"""The dump of a wedged interpreter shows the C function that wedges it."""
#: exit 2
#: send SIGQUIT ready

import ctypes
import os

from gort import cgo, chan, go
from gort._core import goroutines
from gort.time import sleep

lib = ctypes.PyDLL(os.environ["CLIB"])
cgo.enable_traceback()


def wedge():
    while "chan receive" not in [g.wait_reason for g in goroutines()]:
        sleep(0.001)
    os.write(1, b"ready\n")
    sleep(0.001)  # so that it has a P again if the write cost it one
    cgo.call(lib.spin)


go(wedge)
chan().recv()
