"""The last goroutine to run ends locked, and its thread with it: somebody still finds main dead."""
#: exit 2

from gort import chan, go
from gort.runtime import lock_os_thread

go(lock_os_thread)
chan().recv()
