"""Main sends on a channel that nobody receives from, after its buffer is full."""
#: exit 2

from gort import chan

ch = chan(1)
ch.send(1)
print("buffered")
ch.send(2)
