"""Eight threads that take one lock, and yield in one critical section of ten."""

import threading
from time import perf_counter, sleep

from common import report, size

WORKERS = 8
EVERY = 10


def work(n: int, mutex: threading.Lock) -> None:
    for _ in range(n // EVERY):
        mutex.acquire()
        sleep(0)
        mutex.release()
        for _ in range(EVERY - 1):
            mutex.acquire()
            mutex.release()


def run(n: int) -> None:
    mutex = threading.Lock()
    threads = [threading.Thread(target=work, args=(n // WORKERS, mutex)) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


n = size(400_000)
run(n // 10)
start = perf_counter()
run(n)
report("mutex", "threads", n, perf_counter() - start)
