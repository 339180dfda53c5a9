#: exit 2
"""An idle finalizer goroutine wakes nobody, is not counted and is not shown."""

from gort import chan
from gort.runtime import num_goroutine, set_finalizer


class Thing:
    pass


done = chan()
set_finalizer(Thing(), done.send)
done.recv()
print(num_goroutine())
chan().recv()
