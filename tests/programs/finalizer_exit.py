"""The program does not wait for finalizers, neither for those that are queued nor for the one that runs."""

import atexit

from gort import chan
from gort.runtime import set_finalizer
from gort.time import sleep


class Thing:
    pass


atexit.register(print, "atexit")
begun = chan()
kept = Thing()
cycle = Thing()
cycle.me = cycle
set_finalizer(kept, lambda thing: print("wrong"))
set_finalizer(cycle, lambda thing: print("wrong"))
set_finalizer(Thing(), lambda thing: (begun.send(None), sleep(60), print("wrong")))
set_finalizer(Thing(), lambda thing: print("wrong"))
begun.recv()
print("end")
