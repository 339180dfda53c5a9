"""At GOTRACEBACK=system frames have their addresses, and registers follow."""
#: env GOTRACEBACK=system
#: exit SIGSEGV
#: runner python

import ctypes

import gort  # noqa: F401


def read():
    ctypes.string_at(16)


read()
