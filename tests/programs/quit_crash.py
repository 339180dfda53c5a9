"""SIGQUIT at GOTRACEBACK=crash: registers, and a core."""
#: env GOTRACEBACK=crash
#: exit SIGABRT
#: send SIGQUIT ready
#: runner python

from gort import chan, go
from gort.time import sleep

go(sleep, 3600)
print("ready", flush=True)
chan().recv()
