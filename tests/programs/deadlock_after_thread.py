"""A thread keeps the process from being deadlocked only while it lives."""
#: exit 2

import threading
import time

from gort import chan


def work():
    time.sleep(0.1)
    print("thread ends")


threading.Thread(target=work).start()
chan().recv()
