"""An atexit handler that waits is not kept waiting by goroutines that compute."""

#: exit 0
#: timeout 60
import atexit

from gort import go
from gort.time import sleep


def busy():
    while True:
        pass


def handler():
    for _ in range(2):
        go(busy)
    for _ in range(5):
        sleep(0.001)
    print("waited 5 times")


for _ in range(2):
    go(busy)
sleep(0.02)
atexit.register(handler)
