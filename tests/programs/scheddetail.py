"""GODEBUG=scheddetail=1 adds a line for each P, M and G."""
#: env GODEBUG=schedtrace=100,scheddetail=1 GOMAXPROCS=1

import gort
import gort.time

gort.go(gort.chan().recv)
gort.time.sleep(2)
