"""A reader waits for a writer that waits for a reader that never leaves."""
#: exit 2

from gort import go
from gort.sync import RWMutex
from gort.time import sleep

mu = RWMutex()
mu.rlock()
go(mu.lock)
while mu.try_rlock():
    mu.runlock()
    sleep(0.001)
mu.rlock()
