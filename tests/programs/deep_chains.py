"""Long chains of the runtime's own containers are freed however long they are, as those of lists are."""

#: runner python
#: timeout 120

import contextvars
import functools

from gort import _core, chan, run, runtime
from gort.sync import WaitGroup
from gort.sync.atomic import Pointer


class Counted:
    """Sits at the far end: that it is gone says that all the links are."""

    gone = 0

    def __del__(self):
        runtime.gosched()  # in the middle of the interpreter's list of things to free
        Counted.gone += 1


def channels(last):
    c = chan(1)
    c.send(last)
    return c


def channels_and_lists(last):
    c = chan(2)
    c.send([last])
    c.send(())
    return c


def timers(last):
    return _core.RuntimeTimer(fn=functools.partial(int, last))


def contexts(last):
    context = contextvars.Context()
    context.run(variable.set, last)
    return context.run(_core.RuntimeTimer, fn=int)


def mixed(last):
    return timers(channels([Pointer((last,))]))


variable = contextvars.ContextVar("variable")


def build(link, n):
    last = Counted()
    for _ in range(n):
        last = link(last)


def main():
    count = 0
    for link, n in (
        (channels, 1000000),
        (Pointer, 1000000),
        (channels_and_lists, 50000),
        (timers, 50000),
        (contexts, 50000),
        (mixed, 50000),
    ):
        for start in (build, functools.partial(run, build)):
            start(link, n)
            count += 1
            assert Counted.gone == count, (link, start)
    print("ok")


main()
runtime.debug.set_max_stack(256 << 10)  # for goroutines that start on a fresh stack
gate = chan()
crowd = WaitGroup()
for _ in range(20):
    crowd.go(gate.recv)
Counted.gone = 0
main()
gate.close()
crowd.wait()
