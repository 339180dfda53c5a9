"""Threads that are not daemons are joined after main returned, and the goroutines that they need run on."""

import threading
import time

from gort import chan, go


def work():
    time.sleep(0.1)
    print("thread got", ch.recv())


ch = chan()
threading.Thread(target=work).start()
go(ch.send, 1)
print("main returns")
