"""100 fibers, each five times in a C call that blocks for 10 ms, beside a ticker."""

import ctypes
from time import perf_counter

import runloom

from common import TICK, report, size

CALLS = 5
usleep = ctypes.CDLL(None).usleep


def block(done: runloom.Chan) -> None:
    for _ in range(CALLS):
        usleep(10_000)
    done.send(None)


def tick() -> None:
    global latest
    while running:
        start = perf_counter()
        runloom.sleep(TICK)
        latest = max(latest, perf_counter() - start - TICK)


def main() -> None:
    global running, seconds
    done = runloom.Chan(n)
    runloom.fiber(tick)
    runloom.sleep(10 * TICK)
    start = perf_counter()
    for _ in range(n):
        runloom.fiber(block, done)
    for _ in range(n):
        done.recv()
    seconds = perf_counter() - start
    running = False


n = size(100)
running, latest, seconds = True, 0.0, 0.0
runloom.run(1, main)
report("blocking", "runloom", n, seconds, total_ms=seconds * 1e3, latest_ms=latest * 1e3)
