"""SIGQUIT: every goroutine, and exit status 2."""
#: exit 2
#: send SIGQUIT ready

import threading
import time

from gort import chan, go
from gort.runtime import lock_os_thread
from gort.sync import Mutex, WaitGroup
from gort.time import sleep


def receive():
    ch.recv()


def lock():
    mu.lock()


def in_c():
    time.sleep(3600)


def locked():
    lock_os_thread()
    sleep(3600)


def wait():
    wg.wait()


ch, mu, wg = chan(), Mutex(), WaitGroup()
mu.lock()
wg.add(1)
for fn in (receive, lock, in_c, locked):
    go(fn)
threading.Thread(target=wait, name="waiter", daemon=True).start()
threading.Thread(target=in_c, name="sleeper", daemon=True).start()
sleep(0.1)
print("ready", flush=True)
wg.wait()
