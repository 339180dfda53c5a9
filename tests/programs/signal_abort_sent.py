"""SIGABRT that somebody sends ends the process, too."""
#: exit SIGABRT
#: runner python

import os
import signal

import gort  # noqa: F401

os.kill(os.getpid(), signal.SIGABRT)
print("alive")
