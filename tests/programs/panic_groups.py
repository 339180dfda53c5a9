"""Notes and groups are printed as Python prints them."""
#: exit 2

from gort import chan, go


def worker():
    inner = KeyError("inner")
    inner.add_note("look at the key")
    raise ExceptionGroup("several", [inner, OSError(2, "gone")])


go(worker)
chan().recv()
