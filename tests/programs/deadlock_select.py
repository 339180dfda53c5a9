"""Main selects over channels that nobody uses."""
#: exit 2

from gort import chan, select

select(chan(), (chan(), 1), None)
