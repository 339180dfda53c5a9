"""SIGQUIT while a goroutine computes without end."""
#: exit 2
#: send SIGQUIT ready

from gort import chan, go


def busy():
    while True:
        pass


go(busy)
print("ready", flush=True)
chan().recv()
