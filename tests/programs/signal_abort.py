"""abort() in C, and main's frames."""
#: exit SIGABRT
#: runner python

import os

import gort  # noqa: F401


def give_up():
    os.abort()


give_up()
