"""The same while the interpreter is held, with more goroutines alive than have large stacks."""
#: exit 2

import ctypes
import os

from gort import chan, go
from gort.runtime import gosched

lib = ctypes.PyDLL(os.environ["CLIB"])
for _ in range(5000):
    go(chan().recv)
gosched()
go(lib.burn_all, 0)
chan().recv()
