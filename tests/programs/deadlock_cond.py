"""Main waits on a condition that nobody signals."""
#: exit 2

from gort.sync import Cond, Mutex

cond = Cond(Mutex())
cond.l.lock()
cond.wait()
