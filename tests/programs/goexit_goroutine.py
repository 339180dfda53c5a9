"""goexit ends one goroutine: finally and with run, `except Exception` does not, the others go on."""

from contextlib import contextmanager

from gort import go
from gort.runtime import goexit
from gort.sync import WaitGroup


@contextmanager
def noted(name):
    print("enter", name)
    try:
        yield
    finally:
        print("exit", name)


def inner():
    with noted("inner"):
        try:
            goexit()
        except Exception:
            print("caught by except Exception")
    print("not reached")


def worker():
    try:
        inner()
    finally:
        print("finally")
        wg.done()
    print("not reached")


wg = WaitGroup()
wg.add(1)
go(worker)
wg.wait()
print("main goes on")
