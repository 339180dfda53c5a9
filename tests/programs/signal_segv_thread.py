"""A fault in a threading.Thread."""
#: exit SIGSEGV

import ctypes
import threading

import gort  # noqa: F401


def read():
    ctypes.string_at(16)


thread = threading.Thread(target=read)
thread.start()
thread.join()
