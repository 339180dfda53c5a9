"""A goroutine that has lost its P in C ends locked, and its thread too: somebody still finds main dead."""
#: exit 2

import time

from gort import chan, go
from gort.runtime import gomaxprocs, gosched, lock_os_thread


def block():
    lock_os_thread()
    started.send(None)
    time.sleep(0.2)


def work():
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        gosched()


gomaxprocs(1)
started = chan()
go(block)
started.recv()
go(work)  # takes the P that the other one holds
chan().recv()
