"""A goroutine that swallows Goexit meets it again at its next scheduling point."""

from gort import chan, go
from gort.runtime import goexit, gosched
from gort.sync import WaitGroup


def worker():
    try:
        for attempt in range(3):
            try:
                print("attempt", attempt)
                goexit() if attempt == 0 else gosched()
                print("not reached")
            except BaseException as error:
                print("swallowed", type(error).__name__)
        ch.recv()
        print("not reached")
    finally:
        wg.done()


ch = chan()
wg = WaitGroup()
wg.add(1)
go(worker)
wg.wait()
print("main goes on")
