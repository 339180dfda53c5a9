"""As quit_wedged, in a sandbox that forbids process_vm_readv, and with the PCs that level 2 shows."""
#: exit 2
#: env GOTRACEBACK=system
#: send SIGQUIT ready
#: runner python

import ctypes
import os
import platform
import struct

from gort import chan, go, runtime
from gort._core import goroutines
from gort.time import sleep

lib = ctypes.PyDLL(os.environ["CLIB"])
nr = {"x86_64": 310, "aarch64": 270}[platform.machine()]
rules = [(0x20, 0, 0, 0), (0x15, 0, 1, nr), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(program)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, fprog, 0, 0) == 0


def wedge():
    runtime.callers(0)  # So that this function has a PC.
    while {g.goid: g.wait_reason for g in goroutines() if g.goid < 3} != {1: "chan receive", 2: "sleep"}:
        sleep(0.001)
    os.write(1, b"ready\n")
    sleep(0.001)  # so that it has a P again if the write cost it one
    lib.spin()


def sleeper():
    sleep(3600)


go(sleeper)
go(wedge)
chan().recv()
