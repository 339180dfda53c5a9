"""A pending timer is not a deadlock, neither one with a channel nor one with a function."""

from gort import chan
from gort.time import after, after_func

print(after(0.1).recv() > 0)
ch = chan()
after_func(0.1, lambda: ch.send("fired"))
print(ch.recv())
