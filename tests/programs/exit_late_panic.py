"""A goroutine that comes back from C after the end, and cannot go on, changes nothing of that end."""
#: exit 3
#: runner python

import atexit
import sys
import time

atexit.register(time.sleep, 2)  # before gort's own handler was registered: runs after it

from gort import chan, go  # noqa: E402


def late():
    ready.send(None)
    time.sleep(1)
    go(print, "never")  # refused: the program has ended


ready = chan()
go(late)
ready.recv()
time.sleep(0.02)
sys.exit(3)
