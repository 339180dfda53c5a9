"""No thread can be had, and all that run wait in C for what runnable ones would do: not for ever."""
#: exit 2

import os
import resource

from gort import chan, go, time

ready = chan()
for _ in range(100):  # their stacks are used again
    go(ready.recv)
time.sleep(0.01)
ready.close()
time.sleep(0.01)

pipes = [os.pipe() for _ in range(20)]
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (2 << 20),) * 2)
for reader, _ in pipes:
    go(os.read, reader, 1)
time.sleep(2)
for _, writer in pipes:
    os.write(writer, b"x")
