import os

from gort import chan, go, time


def read(pipe, lines):
    lines.send(os.read(pipe, 100).decode())  # blocks in C, as any call may


def spin():
    while True:  # never gives way by itself
        pass


receiver, sender = os.pipe()
lines = chan()
go(read, receiver, lines)
go(spin)
ticks = time.tick(0.1)
for n in range(1, 4):
    ticks.recv()
    print("tick", n)
os.write(sender, b"a blocked call, a busy loop and a ticker: all at once")
print(lines.recv())
