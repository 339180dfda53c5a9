"""The same where a threading.Thread is the culprit."""
#: exit 2
#: send SIGQUIT ready

import ctypes
import os
import threading
import time

from gort import chan, go
from gort._core import goroutines
from gort.time import sleep

lib = ctypes.PyDLL(os.environ["CLIB"])


def wedge():
    while {g.goid: g.wait_reason for g in goroutines() if g.goid < 3} != {1: "chan receive", 2: "sleep"}:
        time.sleep(0.001)
    os.write(1, b"ready\n")
    lib.spin()


threading.Thread(target=wedge, daemon=True).start()
go(sleep, 3600)
chan().recv()
