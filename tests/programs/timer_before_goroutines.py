"""A timer that is set before any goroutine was started fires while main is in C."""

import time

from gort.time import after_func

after_func(0.01, lambda: print("fired", flush=True))
time.sleep(2)
print("main")
