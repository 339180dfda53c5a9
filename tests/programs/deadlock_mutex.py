"""Main locks a mutex twice."""
#: exit 2

from gort.sync import Mutex

mu = Mutex()
mu.lock()
mu.lock()
