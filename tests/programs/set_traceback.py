"""debug.set_traceback raises what the environment asked for, and never lowers it."""
#: env GOTRACEBACK=all
#: exit 2

from gort import chan, go
from gort.runtime import debug

for bad in ("loud", "-1", 3):
    try:
        debug.set_traceback(bad)
    except (TypeError, ValueError) as error:
        print(error)
debug.set_traceback("none")
go(int, "x")
chan().recv()
