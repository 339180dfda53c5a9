"""tracebackancestors: where the goroutine's creators were."""
#: env GODEBUG=tracebackancestors=2
#: exit 2

from gort import chan, go


def first():
    go(second)
    chan().recv()


def second():
    go(third)


def third():
    go(fourth)


def fourth():
    raise ValueError("deep")


go(first)
chan().recv()
