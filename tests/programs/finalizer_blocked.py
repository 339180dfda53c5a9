#: exit 2
"""A finalizer that waits for ever is shown like any goroutine that does, and holds up the next."""

from gort import chan
from gort.runtime import set_finalizer


class Thing:
    pass


def waits(thing):
    never.recv()


never, done = chan(), chan()
set_finalizer(Thing(), waits)
set_finalizer(Thing(), done.send)
done.recv()
