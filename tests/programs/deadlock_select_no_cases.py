"""A select without cases blocks for ever."""
#: exit 2

from gort import select

select()
