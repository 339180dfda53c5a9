"""An exception of a signal handler comes out of the call that main is parked in, and main goes on."""
#: send SIGUSR1 ready

import signal

from gort import chan, select


class Woken(Exception):
    pass


def handler(number, frame):
    raise Woken


signal.signal(signal.SIGUSR1, handler)
print("ready", flush=True)
try:
    select(chan(), (chan(), 1))
except Woken:
    print("woken")
ch = chan(1)
ch.send(1)
print(ch.recv())
