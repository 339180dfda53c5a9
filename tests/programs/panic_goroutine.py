"""An exception that escapes a goroutine ends the process; what was printed before is not lost."""
#: exit 2

from gort import chan, go


def worker(divisor):
    return 1 // divisor


print("before")
go(worker, 0)
chan().recv()
print("not reached")
