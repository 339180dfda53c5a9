"""A heap dump, read back by the command."""

import os
import subprocess
import sys
import tempfile

from gort import chan, go
from gort._core import goroutines
from gort.runtime import debug, gosched


class Leaf:
    __slots__ = ("parent",)


def wait(ch):
    ch.recv()


leaves = [Leaf() for _ in range(1234)]
go(wait, chan())
while not any(g.wait_reason == "chan receive" for g in goroutines()):
    gosched()
path = os.path.join(tempfile.mkdtemp(), "heap")
with open(path, "wb") as file:
    debug.write_heap_dump(file)


def show(*argv):
    done = subprocess.run([sys.executable, "-m", "gort.heapdump", *argv], capture_output=True, text=True)
    print(done.stderr.replace(path, "PATH"), end="")
    print("exit status", done.returncode)
    return done.stdout.splitlines()


for line in show(path, "-n", "1000"):
    if line.startswith("heap dump") or "Leaf" in line or "goroutine" in line:
        print(line)
with open(path, "r+b") as file:
    file.truncate(os.path.getsize(path) - 100)
show(path)
with open(path, "wb") as file:
    file.write(b"%PDF-1.4")
show(path)
with open(path, "wb"):
    pass
show(path)
os.remove(path)
show(path)
os.rmdir(os.path.dirname(path))
