# Goroutines that block in C where no thread can be had: main's thread does the work.
import hashlib
import resource

from gort import go, runtime, sync, time

go(int)
runtime.gosched()
time.sleep(0.01)
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (100 << 10),) * 2)
data = b"x" * 300000
ended = []


def task(i):
    for _ in range(3):
        hashlib.sha256(data).digest()
        time.sleep(0.001)
    ended.append(i)


g = sync.WaitGroup()
for i in range(8):
    g.go(task, i)
g.wait()
print("ok" if len(ended) == 8 else ended)
