"""The same at GOTRACEBACK=all: the others follow."""
#: env GOTRACEBACK=all
#: exit SIGSEGV

import ctypes

from gort import chan, go
from gort._core import goroutines
from gort.time import sleep


def worker():
    while {g.goid: g.wait_reason for g in goroutines() if g.goid < 3} != {1: "chan receive", 2: "sleep"}:
        sleep(0.001)
    ctypes.string_at(16)


def sleeper():
    sleep(3600)


go(sleeper)
go(worker)
chan().recv()
