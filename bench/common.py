"""What every Python program of the benchmark shares: its size, its durations and its line of JSON."""

import asyncio
import json
import os
import platform
import sys
from collections.abc import Coroutine
from importlib import metadata
from typing import Any

TICK = 0.005  # seconds between two ticks of the tickers


def size(default: int) -> int:
    """The number of operations: the first argument of the program, else `default`."""
    return int(sys.argv[1]) if len(sys.argv) > 1 else default


def report(workload: str, contender: str, n: int, seconds: float, **figures: float) -> None:
    """Prints the program's only line. Without figures of its own it gets ns_per_op, from n and seconds."""
    line = {
        "workload": workload,
        "contender": contender,
        "version": version(contender),
        "python": platform.python_version(),
        "n": n,
        "seconds": seconds,
        **(figures or {"ns_per_op": seconds / n * 1e9}),
    }
    print(json.dumps(line), flush=True)


def version(contender: str) -> str:
    try:
        return metadata.version(contender.partition("-")[0])
    except metadata.PackageNotFoundError:  # asyncio, threads: CPython's own
        return platform.python_version()


def run_asyncio(main: Coroutine[Any, Any, None]) -> str:
    """Runs `main` on asyncio's own loop, or on uvloop's if UVLOOP=1; returns the contender's name."""
    if os.environ.get("UVLOOP") != "1":
        asyncio.run(main)
        return "asyncio"
    import uvloop  # type: ignore[import-not-found,unused-ignore]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
    return "uvloop"


def pygolang() -> str:
    """The contender's name under `gpython` (goroutines are greenlets) and `python` (they are threads)."""
    return "pygolang-gevent" if "gevent.monkey" in sys.modules else "pygolang-threads"


def rss() -> int:
    """Resident memory of this process, in bytes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def page_tables() -> int:
    """Memory of this process's page tables, in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmPTE:")) * 1024


def durations(n: int) -> list[float]:
    """n sleeps of up to one second, the same ones in Python and in Go."""
    x, result = 1, []
    for _ in range(n):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        result.append((x >> 33) / 2**31)
    return result


def sieve_hops(primes: list[int]) -> int:
    """How many values pass through all channels of a sieve until it has found `primes`.

    Every number goes to the filter of each prime up to its own smallest factor, and to the main task
    if there is none.
    """
    hops = 0
    for number in range(2, primes[-1] + 1):
        for prime in primes:
            hops += 1
            if number % prime == 0:
                break
    return hops
