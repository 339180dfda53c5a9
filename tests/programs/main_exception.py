"""An exception that escapes main: Python's own rule, and a panic under `gort run`."""
#: exit python=1 gort=2

import gort


def fail():
    raise ValueError("boom")


print(gort.chan().cap)
fail()
