"""A reader waits for a writer that waits for a reader that never leaves."""
#: exit 2

from gort import go
from gort.sync import RWMutex
from gort.time import sleep

mu = RWMutex()
mu.rlock()
go(mu.lock)
sleep(0.2)
mu.rlock()
