"""A main goroutine that is locked to its thread is found dead like any other."""
#: exit 2

from gort import chan
from gort.runtime import lock_os_thread

lock_os_thread()
chan().recv()
