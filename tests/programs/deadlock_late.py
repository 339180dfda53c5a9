"""The last goroutine that could have woken main ends without doing so."""
#: exit 2

import time

from gort import chan, go
from gort.time import sleep


def worker():
    sleep(0.01)
    time.sleep(0.01)
    print("worker ends")


go(worker)
chan().recv()
