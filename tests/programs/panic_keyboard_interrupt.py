"""A KeyboardInterrupt raised in a goroutine by itself is an exception that escapes it."""
#: exit 2

from gort import chan, go


def worker():
    raise KeyboardInterrupt


go(worker)
chan().recv()
