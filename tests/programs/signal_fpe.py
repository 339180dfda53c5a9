"""A division by zero in C."""
#: exit SIGFPE

import ctypes
import os

from gort import run

lib = ctypes.CDLL(os.environ["CLIB"])


def divide():
    lib.divide(1, 0)


run(divide)
