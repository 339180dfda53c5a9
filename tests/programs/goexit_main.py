"""Main calls goexit: the others go on; when all are gone that is a deadlock."""
#: exit 2

import time

from gort import go
from gort.runtime import goexit
from gort.time import sleep


def worker(seconds, pause):
    pause(seconds)
    print("worker", seconds)


go(worker, 0.1, sleep)
go(worker, 0.3, time.sleep)
try:
    goexit()
finally:
    print("main's finally")
