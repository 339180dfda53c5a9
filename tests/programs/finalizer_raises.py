"""An exception in a finalizer is reported, and the next one runs."""

from gort import chan
from gort.runtime import goexit, set_finalizer


class Thing:
    pass


def fails(thing):
    raise ValueError("from a finalizer")


def leaves(thing):
    goexit()


done = chan()
set_finalizer(Thing(), fails)
set_finalizer(Thing(), leaves)
set_finalizer(Thing(), done.send)
print(type(done.recv()).__name__)
