"""A goroutine's panic does not wait for the main goroutine to come out of C."""
#: exit 2
#: timeout 120

import time

from gort import go


def worker():
    raise RuntimeError("boom")


go(worker)
time.sleep(3600)
