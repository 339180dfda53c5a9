"""Two threads that yield to each other, as far as the operating system lets them."""

import threading
from time import perf_counter, sleep

from common import report, size


def task(n: int) -> None:
    for _ in range(n):
        sleep(0)


def run(n: int) -> None:
    threads = [threading.Thread(target=task, args=(n // 2,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


n = size(1_000_000)
run(n // 10)
start = perf_counter()
run(n)
report("yield", "threads", n, perf_counter() - start)
