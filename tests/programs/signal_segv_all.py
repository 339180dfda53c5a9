"""The same at GOTRACEBACK=all: the others follow."""
#: env GOTRACEBACK=all
#: exit SIGSEGV

import ctypes

from gort import chan, go
from gort.time import sleep


def worker():
    sleep(0.05)
    ctypes.string_at(16)


def sleeper():
    sleep(3600)


go(sleeper)
go(worker)
chan().recv()
