# Of threads that ended with the goroutines that were locked to them nothing stays.
#: env MALLOC_ARENA_MAX=1
from gort import runtime, sync


def size():
    lines = (line.split() for line in open("/proc/self/status"))
    return next(int(words[1]) for words in lines if words[0] == "VmSize:")


def rounds(n):
    for _ in range(n):
        group = sync.WaitGroup()
        for _ in range(2):
            group.go(runtime.lock_os_thread)
        group.wait()


rounds(20)
before = size()
rounds(1000)
grown = size() - before
print("ok" if grown < 16384 else f"{grown} KiB of addresses more")
