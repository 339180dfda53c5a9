"""The system gives no more threads (ulimit -u)."""
#: exit 2
#: timeout 120

import os
import resource
import threading  # noqa: F401
import time

from gort import go
from gort.time import sleep

go(sleep, 0)
sleep(0.01)
if os.getuid() == 0:  # whom the limit does not bind
    os.setuid(54321)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
for _ in range(5):
    go(time.sleep, 3600)
sleep(3600)
