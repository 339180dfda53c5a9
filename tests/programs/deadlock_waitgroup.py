"""Main waits for a goroutine that waits for main."""
#: exit 2

from gort import chan, go
from gort.sync import WaitGroup


def worker(ch, wg):
    ch.send(1)
    wg.done()


wg = WaitGroup()
wg.add(1)
go(worker, chan(), wg)
wg.wait()
