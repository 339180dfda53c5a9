"""A deadlock inside gort.run is one of the process."""
#: exit 2

import gort

gort.run(gort.chan().recv)
