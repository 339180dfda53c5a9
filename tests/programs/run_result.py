"""gort.run gives the function's result or raises its exception, from any thread."""

import threading

import gort


def add(a, b=0):
    return a + b


def fail():
    raise KeyError("k")


def show():
    print(gort.run(add, 1, b=2))
    try:
        gort.run(fail)
    except KeyError as error:
        print("KeyError", error)


show()
thread = threading.Thread(target=show)
thread.start()
thread.join()
gort.run(show)
