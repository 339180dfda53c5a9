"""The same where a threading.Thread is the culprit."""
#: exit 2
#: send SIGQUIT ready

import ctypes
import os
import threading
import time

from gort import chan, go
from gort.time import sleep

lib = ctypes.PyDLL(os.environ["CLIB"])


def wedge():
    time.sleep(0.05)
    lib.spin()


threading.Thread(target=wedge, daemon=True).start()
go(sleep, 3600)
print("ready", flush=True)
chan().recv()
