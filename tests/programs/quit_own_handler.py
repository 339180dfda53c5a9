"""A program's own SIGQUIT handler wins."""
#: send SIGQUIT ready

import signal

from gort import chan, go

ch = chan()
signal.signal(signal.SIGQUIT, lambda number, frame: go(ch.send, "mine"))
print("ready", flush=True)
print(ch.recv())
