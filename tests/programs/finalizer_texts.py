"""Misuse, in Go's words."""

from gort import runtime


class Thing:
    pass


def attempt(*args):
    try:
        runtime.SetFinalizer(*args)
    except runtime.Error as error:
        print(error)


thing = Thing()
attempt(None, print)
attempt(1, print)
attempt([], print)
attempt(Thing, print)
attempt(thing, "close")
attempt(thing, lambda: None)
attempt(thing, lambda a, b: None)
attempt(thing, print)
attempt(thing, print)
attempt(thing, None)
