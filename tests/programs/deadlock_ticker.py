"""A timer or ticker that nobody waits for can wake nobody, whether it was stopped or not."""
#: exit 2

from gort import chan
from gort.time import Ticker, Timer, after, tick

kept = [Ticker(0.01), Timer(3600), after(0.05), tick(0.01)]
print(kept[1].c.cap)
chan().recv()
