"""A goroutine forks: in the child, where it is main, threading knows it wherever it runs."""
#: exit 3

import os
import sys
import threading
import warnings

from gort import chan, go
from gort._core import _thread_stats, goroutines
from gort.time import sleep

warnings.simplefilter("ignore")  # from 3.12 on fork complains about threads


def busy():
    ch.recv()  # parks: known not to block, so it may go on on the main thread
    while True:
        pass


def away():
    """Main is moved to another thread, and says whether threading has seen it."""
    go(busy)
    while not any(g.wait_reason == "chan receive" for g in goroutines()):
        sleep(0.001)
    ch.close()
    while _thread_stats().main_moves == before:
        sleep(0.05)
    moved = _thread_stats().main_moves > before
    main = threading.main_thread()
    print(moved, main is threading.current_thread(), main.ident == threading.get_ident(), flush=True)


def fork():
    global ch, before
    pid = os.fork()
    if pid == 0:
        ch, before = chan(), _thread_stats().main_moves
        away()
        os._exit(7)
    done.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


ch, done, before = chan(), chan(), 0
away()
go(fork)
print(done.recv())
sys.exit(3)
