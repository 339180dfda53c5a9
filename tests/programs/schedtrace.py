"""GODEBUG=schedtrace=X prints a line every X milliseconds."""
#: env GODEBUG=schedtrace=50 GOMAXPROCS=2

import gort
import gort.time

for _ in range(8):
    gort.go(gort.chan().recv)
gort.time.sleep(2)
