#: exit 2
#: env GOTRACEBACK=all
#: send SIGQUIT ready
"""The dump of a signal shows no idle finalizer goroutine either."""

import time

from gort import chan
from gort.runtime import set_finalizer


class Thing:
    pass


done = chan()
set_finalizer(Thing(), done.send)
done.recv()
print("ready", flush=True)
time.sleep(60)
