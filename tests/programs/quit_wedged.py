"""SIGQUIT while C code keeps the interpreter to itself: the dump is written without it."""
#: exit 2
#: send SIGQUIT ready

import ctypes
import os

from gort import chan, go
from gort.time import sleep

lib = ctypes.PyDLL(os.environ["CLIB"])


def wedge():
    sleep(0.05)
    lib.spin()


def sleeper():
    sleep(3600)


go(sleeper)
go(wedge)
print("ready", flush=True)
chan().recv()
