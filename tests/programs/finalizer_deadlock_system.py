#: exit 2
#: env GOTRACEBACK=system
"""With the runtime's own frames the finalizer goroutine is shown too."""

from gort import chan
from gort.runtime import set_finalizer


class Thing:
    pass


done = chan()
set_finalizer(Thing(), done.send)
done.recv()
chan().recv()
