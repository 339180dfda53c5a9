"""A timer that was stopped wakes nobody."""
#: exit 2

from gort.time import Timer

timer = Timer(3600)
print(timer.stop())
timer.c.recv()
