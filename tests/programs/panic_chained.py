"""The whole chain of exceptions is shown."""
#: exit 2

from gort import chan, go


def worker():
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("bad input") from error


go(worker)
chan().recv()
