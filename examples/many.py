"""A server-like program that is worth a dump: thousands of goroutines, each somewhere else.

    python examples/many.py [GOROUTINES]        then, from another terminal: kill -QUIT PID

Workers wait for jobs, handlers for answers with a timeout, writers for one lock, a few sit in C calls.
SIGQUIT shows them all, and ends the program with status 2.
"""

import os
import sys
import time

from gort import Chan, chan, go, select
from gort.sync import Mutex
from gort.time import Timer, sleep


def worker(jobs: Chan[int]) -> None:
    for job in jobs:
        sleep(job)


def handler(request: int) -> None:
    answer: Chan[str] = chan()
    timeout = Timer(3600 + request)
    select(answer, timeout.c)


def writer(log: Mutex) -> None:
    with log:
        sleep(3600)


def backup() -> None:
    time.sleep(3600)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    jobs: Chan[int] = chan()
    log = Mutex()
    for i in range(n // 5 * 2):
        go(worker, jobs)
        go(handler, i)
    for _ in range(n // 5 - 5):
        go(writer, log)
    for _ in range(5):
        go(backup)
    sleep(0.5)
    print(f"{n} goroutines; try: kill -QUIT {os.getpid()}", flush=True)
    sleep(3600)


main()
