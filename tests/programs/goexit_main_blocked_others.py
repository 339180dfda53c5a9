"""After main called goexit, goroutines that are all parked are a deadlock of the ordinary kind."""
#: exit 2

from gort import chan, go
from gort.runtime import goexit

go(chan().recv)
goexit()
