"""While a Python signal handler is installed a parked main goroutine waits for the signal."""
#: send SIGTERM ready

import signal

from gort import chan


def handler(number, frame):
    done.send(signal.Signals(number).name)


done = chan(1)
signal.signal(signal.SIGTERM, handler)
print("ready", flush=True)
print(done.recv())
