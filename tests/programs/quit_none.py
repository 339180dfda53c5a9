"""SIGQUIT at GOTRACEBACK=none."""
#: env GOTRACEBACK=none
#: exit 2
#: send SIGQUIT ready

from gort import chan, go
from gort.time import sleep

go(sleep, 3600)
print("ready", flush=True)
chan().recv()
