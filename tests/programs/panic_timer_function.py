"""A timer's function runs in a goroutine: its exception is a panic."""
#: exit 2

from gort.time import after_func, sleep


def fire():
    raise LookupError("nothing here")


after_func(0.01, fire)
sleep(3600)
