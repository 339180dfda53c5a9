"""More goroutines blocked in C than the limit of threads allows."""
#: exit 2
#: timeout 120

import time

from gort import go
from gort.runtime.debug import set_max_threads
from gort.time import sleep

print(set_max_threads(8), flush=True)
for _ in range(20):
    go(time.sleep, 3600)
sleep(3600)
