"""GOTRACEBACK=crash: a panic leaves a core, and the abort itself is not reported."""
#: env GOTRACEBACK=crash
#: exit SIGABRT
#: runner python

from gort import chan, go


def worker():
    raise ValueError("bad")


go(worker)
chan().recv()
