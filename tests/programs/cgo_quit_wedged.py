"""The dump of a wedged interpreter shows the C function that wedges it."""
#: exit 2
#: send SIGQUIT ready

import ctypes
import os

from gort import cgo, chan, go
from gort.time import sleep

lib = ctypes.PyDLL(os.environ["CLIB"])
cgo.enable_traceback()


def wedge():
    sleep(0.05)
    cgo.call(lib.spin)


go(wedge)
print("ready", flush=True)
chan().recv()
