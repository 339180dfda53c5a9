"""A sleeping goroutine is not a deadlock."""

from gort.time import sleep

sleep(0.2)
print("awake")
