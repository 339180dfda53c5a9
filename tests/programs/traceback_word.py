"""GOTRACEBACK=loud: a word that Go does not know shows nothing, and is reported."""
#: env GOTRACEBACK=loud
#: exit 2

from gort import chan, go

go(int, "x")
chan().recv()
