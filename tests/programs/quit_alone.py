"""SIGQUIT in a program that never started a goroutine."""
#: exit 2
#: send SIGQUIT ready
#: runner python

import time

import gort  # noqa: F401


def work():
    print("ready", flush=True)
    time.sleep(3600)


work()
