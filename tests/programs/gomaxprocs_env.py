"""GOMAXPROCS sets the number of Ps."""
#: env GOMAXPROCS=7

from gort.runtime import gomaxprocs

print(gomaxprocs(0), gomaxprocs(3), gomaxprocs(0))
