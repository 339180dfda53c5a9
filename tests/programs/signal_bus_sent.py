"""A signal that somebody sent: the process dies by it."""
#: exit SIGBUS
#: send SIGBUS ready
#: runner gort

from gort.time import sleep

print("ready", flush=True)
sleep(3600)
