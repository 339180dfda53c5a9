"""What Go panics with for a user's mistake is a runtime.Error with Go's text, and can be caught."""

from gort import chan
from gort.runtime import Error
from gort.sync import Mutex, RWMutex, WaitGroup

closed = chan()
closed.close()


def used_rwmutex():
    mu = RWMutex()
    mu.lock()
    mu.runlock()


for misuse in (
    lambda: closed.send(1),
    closed.close,
    Mutex().unlock,
    RWMutex().unlock,
    RWMutex().runlock,
    used_rwmutex,
    WaitGroup().done,
    lambda: WaitGroup().add(-2),
):
    try:
        misuse()
        print("no error")
    except Error as error:
        print(type(error) is Error, isinstance(error, RuntimeError), error)
