"""SystemExit with a text prints it and means status 1."""
#: exit 1

import sys

from gort import chan, go

go(sys.exit, "cannot go on")
chan().recv()
