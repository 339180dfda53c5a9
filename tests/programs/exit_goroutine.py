"""SystemExit in a goroutine ends the process with its status, and atexit runs."""
#: exit 7

import atexit
import sys

from gort import chan, go

atexit.register(print, "atexit")
go(sys.exit, 7)
chan().recv()
print("not reached")
