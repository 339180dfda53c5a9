"""A fiber that computes for a second without ever yielding, beside a ticker."""

from time import perf_counter

import runloom

from common import TICK, report, size


def compute(milliseconds: int, done: runloom.Chan) -> None:
    end = perf_counter() + milliseconds / 1e3
    x = 0
    while perf_counter() < end:
        x += 1
    done.send(None)


def tick() -> None:
    global latest
    while running:
        start = perf_counter()
        runloom.sleep(TICK)
        latest = max(latest, perf_counter() - start - TICK)


def main() -> None:
    global running, seconds
    done = runloom.Chan(1)
    runloom.fiber(tick)
    runloom.sleep(10 * TICK)
    start = perf_counter()
    runloom.fiber(compute, n, done)
    done.recv()
    seconds = perf_counter() - start
    running = False


n = size(1000)
running, latest, seconds = True, 0.0, 0.0
runloom.run(1, main)
report("busy", "runloom", n, seconds, latest_ms=latest * 1e3)
