"""A goroutine that blocks in C may still send."""

import time

from gort import chan, go


def worker():
    time.sleep(0.2)
    ch.send("done")


ch = chan()
go(worker)
print(ch.recv())
