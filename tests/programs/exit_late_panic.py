"""A goroutine that comes back from C after the end, and cannot go on, changes nothing of that end."""
#: exit 3
#: runner python

import atexit
import sys
import time

atexit.register(time.sleep, 0.3)  # before gort's own handler was registered: runs after it

from gort import go  # noqa: E402


def late():
    time.sleep(0.1)
    go(print, "never")  # refused: the program has ended


go(late)
time.sleep(0.02)
sys.exit(3)
