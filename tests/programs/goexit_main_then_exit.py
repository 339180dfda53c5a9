"""After main called goexit another goroutine may end the process."""
#: exit 4

import atexit
import sys

from gort import go
from gort.runtime import goexit, gosched


def worker():
    for _ in range(10):
        gosched()
    sys.exit(4)


atexit.register(print, "atexit")
go(worker)
goexit()
