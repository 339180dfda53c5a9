"""Main forks while it runs on another thread than the main one: threading is whole in the child."""

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


ch = chan()
go(busy)
while not any(g.wait_reason == "chan receive" for g in goroutines()):
    sleep(0.001)
ch.close()
while _thread_stats().main_moves == 0:
    sleep(0.05)
print("main was moved:", _thread_stats().main_moves > 0, flush=True)
pid = os.fork()
if pid == 0:
    thread = threading.Thread(target=print, args=("thread in the child",))
    thread.start()
    thread.join()
    main = threading.main_thread()
    print(
        main is threading.current_thread(), main.ident == threading.get_ident(), main.is_alive(), flush=True
    )
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
sleep(0.01)
print(threading.main_thread() is threading.current_thread(), threading.main_thread().is_alive())
