"""Main may wait for what another Python thread will send."""

import threading
import time

from gort import chan


def work():
    time.sleep(0.2)
    ch.send("from a thread")


ch = chan()
threading.Thread(target=work, daemon=True).start()
print(ch.recv())
