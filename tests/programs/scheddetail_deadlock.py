"""A fatal error with scheddetail set prints the scheduler's state first."""
#: env GODEBUG=scheddetail=1
#: exit 2

from gort import chan

chan().recv()
