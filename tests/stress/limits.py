"""Goroutines where the address space is limited: as many as there are addresses for, then MemoryError.

    python tests/stress/limits.py [--seed N] [--seconds S]

Each round is a process of its own whose limit (RLIMIT_AS) is drawn, and that starts goroutines of drawn
kinds until MemoryError, several times over. Whatever was refused, what runs must be sound:

* each goroutine that was started gets its own value back and ends;
* a MemoryError leaves nothing half-done: the count of goroutines is that of the calls that did not raise;
* when some have ended, as many others can be started. (MALLOC_ARENA_MAX=1 keeps malloc from taking 64 MiB of
  addresses for each thread.)

The exit status is 0 if all held, else 1.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import secrets
import sys
import time as python_time
import traceback
from pathlib import Path
from typing import Any

from gort import chan, go
from gort.runtime import debug, gosched, num_goroutine
from gort.sync import WaitGroup

MOST = 3000  # goroutines at once


def require(condition: object, text: str) -> None:
    if not condition:
        raise AssertionError(text)


def addresses() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def dive(n: int) -> int:
    return 1 + dive(n - 1) if n else 0


def wave(rng: random.Random, before: int) -> int:
    """Starts goroutines until memory is refused, lets them work, and returns how many there were."""
    stop, ended = chan(), [0]
    kinds = [rng.randrange(4) for _ in range(8)]
    several = tuple(range(12))

    def task(number: int, *rest: Any) -> None:
        kind = kinds[number % len(kinds)]
        local = [number] * 10
        stop.recv()
        if kind == 1:
            depth = 30 + number % 50
            require(dive(depth) == depth, "a recursion lost count")
        elif kind == 2:
            require(
                sorted(range(50), key=lambda v: (gosched() if v == 25 else None, -v)[1])[0] == 49, "a sort"
            )
        require(local == [number] * 10, "another goroutine wrote on this one's stack")
        require(rest in ((), several), "arguments were mixed up")
        ended[0] += 1

    n = 0
    most = rng.randrange(50, MOST)
    try:
        while n < most:
            go(task, n, *(several if n % 7 == 0 else ()))
            n += 1
            if n % 100 == 0:
                gosched()
    except MemoryError:
        pass
    require(num_goroutine() == before + n, f"{n} were started, {num_goroutine() - before} exist")
    stop.close()
    while ended[0] < n:
        gosched()
    while num_goroutine() > before:
        gosched()
    return n


def process(seed: int, limit: int) -> None:
    rng = random.Random(seed)
    group = WaitGroup()
    group.go(int)
    group.wait()
    resource.setrlimit(resource.RLIMIT_AS, (addresses() + limit,) * 2)
    before = num_goroutine()
    first = wave(random.Random(seed), before)
    for _ in range(rng.randrange(1, 5)):
        if rng.random() < 0.3:
            debug.free_os_memory()
        if rng.random() < 0.3:  # whose stacks keep their addresses for goroutines of that size
            debug.set_max_stack(rng.choice([128 << 10, 1 << 20, 8 << 20]))
            wave(rng, before)
            debug.set_max_stack(8 << 20)
            first = 0
        else:
            again = wave(random.Random(seed), before)
            # An M more than the first time takes addresses, too.
            require(again >= first - 4, f"{first} goroutines could be started, and later only {again}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Goroutines where the address space is limited.")
    parser.add_argument("--seed", type=int, default=os.environ.get("SEED") or secrets.randbits(32))
    parser.add_argument("--seconds", type=float, default=os.environ.get("SECONDS") or 5)
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:g} s", flush=True)
    rng = random.Random(options.seed)
    end = python_time.monotonic() + options.seconds
    rounds = 0
    while python_time.monotonic() < end or rounds == 0:
        seed, limit = rng.getrandbits(32), int(2 ** rng.uniform(2, 11)) << 20
        pid = os.fork()
        if pid == 0:
            try:
                process(seed, limit)
                os._exit(0)
            except BaseException as error:
                traceback.print_exception(error)
            os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != 0:
            print(f"seed {options.seed}, round {rounds}: {limit >> 20} MiB, seed {seed}: status {status}")
            return 1
        rounds += 1
    print(f"{rounds} rounds", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
