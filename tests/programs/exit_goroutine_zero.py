"""SystemExit without a status means success, from a goroutine too, while main computes."""
#: timeout 120

import atexit
import sys

from gort import go


def worker():
    print("worker")
    sys.exit()


atexit.register(print, "atexit")
go(worker)
while True:
    pass
