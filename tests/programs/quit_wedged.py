"""SIGQUIT while C code keeps the interpreter to itself: the dump is written without it."""
#: exit 2
#: send SIGQUIT ready

import ctypes
import os

from gort import chan, go
from gort._core import goroutines
from gort.time import sleep

lib = ctypes.PyDLL(os.environ["CLIB"])


def wedge():
    while {g.goid: g.wait_reason for g in goroutines() if g.goid < 3} != {1: "chan receive", 2: "sleep"}:
        sleep(0.001)
    os.write(1, b"ready\n")
    sleep(0.001)  # so that it has a P again if the write cost it one
    lib.spin()


def sleeper():
    sleep(3600)


go(sleeper)
go(wedge)
chan().recv()
