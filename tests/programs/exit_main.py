"""sys.exit in main, while goroutines are alive in every state."""
#: exit 3

import sys
import time

from gort import chan, go
from gort.runtime import gosched


def spin():
    while True:
        gosched()


for fn in (chan().recv, spin, lambda: time.sleep(3600)):
    go(fn)
gosched()
sys.exit(3)
