"""GOTRACEBACK=none leaves the first line only."""
#: exit 2
#: env GOTRACEBACK=none

from gort import chan

chan().recv()
