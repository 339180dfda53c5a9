"""SystemExit in a goroutine while main is blocked in C."""
#: exit 5
#: timeout 120

import atexit
import sys
import time

from gort import go

atexit.register(print, "atexit")
go(sys.exit, 5)
time.sleep(3600)
