"""A sleeping goroutine is no deadlock."""

from gort.time import sleep

sleep(0.2)
print("awake")
