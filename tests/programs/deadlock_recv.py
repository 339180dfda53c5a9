"""Main receives from a channel that nobody sends on."""
#: exit 2

from gort import chan

print("before")
chan().recv()
