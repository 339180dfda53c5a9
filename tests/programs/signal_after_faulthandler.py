"""faulthandler, enabled before, has its say too."""
#: exit SIGSEGV
#: flags -X faulthandler
#: runner python

import ctypes

import gort  # noqa: F401

ctypes.string_at(16)
