"""A misuse error that nobody catches is a panic like any other."""
#: exit 2

from gort import chan, go
from gort.sync import Mutex

go(Mutex().unlock)
chan().recv()
