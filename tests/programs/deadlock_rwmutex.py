"""A reader waits for a writer that waits for a reader that never leaves."""
#: exit 2

from gort import go
from gort.runtime import gosched
from gort.sync import RWMutex

mu = RWMutex()
mu.rlock()
go(mu.lock)
gosched()
mu.rlock()
