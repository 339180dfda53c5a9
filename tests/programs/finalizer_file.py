"""A descriptor that its finalizer closes: the example of Go's documentation."""

import os

from gort import chan
from gort.runtime import keep_alive, set_finalizer

closed = chan()


class File:
    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)


def close(file):
    os.close(file.fd)
    closed.send(file)


def read(path):
    file = File(path)
    set_finalizer(file, close)
    data = os.read(file.fd, 10)
    keep_alive(file)
    print("read", len(data), "bytes")


read(__file__)
file = closed.recv()
print("closed", type(file).__name__)
try:
    os.fstat(file.fd)
except OSError:
    print("really")
