"""Random allocation of all kinds at once, with a seed, and invariants that must hold throughout.

    python tests/stress/heap.py [--seed N] [--seconds S]

The environment variables SEED and SECONDS do the same. The seed is printed first; the same seed makes the
same choices, though not the same interleaving. GORT_HEAP=1 is set unless the environment says otherwise;
GODEBUG's debug modes are on as in any program. Each round runs goroutines, threads and a forked child that
allocate, grow, shrink and drop what they can compute again.
What is checked:

* content: every object holds what was put into it, however often its memory moved;
* structure: a walk over all spans after each round finds every block and page where the counts say it is;
* accounts: what is alive adds up, and is little once a round's objects are dropped;
* memory: the heap stays flat from round to round (in efence what is resident; in sbrk nothing is freed).

The exit status is 0 if all held; otherwise the first violation is printed and the status is 1.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import secrets
import sys
import threading
import time as python_time
import traceback
import warnings
from collections.abc import Callable

os.environ.setdefault("GORT_HEAP", "1")

from gort import _core, _env, runtime  # noqa: E402
from gort.sync import WaitGroup  # noqa: E402
from gort.time import sleep  # noqa: E402

# The mode that decides what memory does.
MODE = next((name for name in ("sbrk", "efence", "clobberfree") if _env.integer(name)), "")
# How far the heap may grow after the first rounds.
MEMORY_BOUND = 96 << 20
if MODE == "clobberfree":  # every resize takes a second place, and what was freed waits for its reuse
    MEMORY_BOUND *= 3


class Violation(Exception):
    """An invariant that did not hold."""


def require(condition: object, text: str) -> None:
    if not condition:
        raise Violation(text)


class Node:
    """A part of a graph with cycles."""

    def __init__(self, number: int, other: Node | None) -> None:
        self.number, self.text, self.other, self.me = number, str(number), other, self


def graph(dice: random.Random) -> None:
    node: Node | None = None
    count = dice.randrange(2000)
    for number in range(count):
        node = Node(number, node)
    for number in reversed(range(count)):
        require(node and node.number == number and node.text == str(number), "a node changed")
        assert node is not None
        node = node.other


def window(dice: random.Random) -> None:
    """Byte strings of many sizes, replaced in no order."""
    kept: dict[int, tuple[int, bytes]] = {}
    for _ in range(2000):
        size = dice.choice((dice.randrange(64), dice.randrange(2000), dice.randrange(70_000)))
        kept[dice.randrange(200)] = size, bytes([size % 256]) * size
    for size, data in kept.values():
        require(data.count(size % 256) == len(data) == size, "a byte string changed")


def growth(dice: random.Random) -> None:
    """Byte strings that grow and shrink, up to some MiB."""
    data, length = bytearray(), 0
    for _ in range(dice.randrange(60)):
        if dice.random() < 0.8:
            step = dice.choice((10, 1000, 50_000, 700_000))
            data += bytes((length + i) % 251 for i in range(50)) + bytes(step - 50 if step > 50 else 0)
            require(data[length] == length % 251, "a byte string changed as it grew")
        else:
            keep = dice.randrange(len(data) + 1)
            del data[keep:]
        length = len(data)


def lists(dice: random.Random) -> None:
    items: list[int] = []
    for i in range(dice.randrange(60_000)):
        items.append(i)
    del items[dice.randrange(len(items) + 1) :]
    require(items == list(range(len(items))), "a list changed")


def texts(dice: random.Random) -> None:
    value = [{"id": i, "name": "x" * (i % 50), "more": [i] * (i % 7)} for i in range(dice.randrange(500))]
    require(json.loads(json.dumps(value)) == value, "a document changed")


def dicts(dice: random.Random) -> None:
    table = {}
    for i in range(dice.randrange(5000)):
        table[f"key{i}"] = (i, i + 1)
        if i % 3 == 0:
            del table[f"key{i}"]
    require(all(value[0] + 1 == value[1] for value in table.values()), "a dict changed")


def collect(dice: random.Random) -> None:
    gc.collect(dice.randrange(3))


KINDS: tuple[Callable[[random.Random], None], ...] = (graph, window, growth, lists, texts, dicts, collect)


def work(seed: int, in_goroutine: bool, faults: list[str]) -> None:
    dice = random.Random(seed)
    try:
        for _ in range(4):
            dice.choice(KINDS)(dice)
            if in_goroutine:
                sleep(0.0001)
    except BaseException:
        faults.append(traceback.format_exc())


def child(seed: int) -> None:
    """What a forked child does with the heap that it got."""
    status = 1
    try:
        faults: list[str] = []
        work(seed, False, faults)
        _core._check_heap()
        for fault in faults:
            os.write(2, fault.encode())
        status = 1 if faults else 0
    finally:
        os._exit(status)


def one_round(dice: random.Random) -> None:
    faults: list[str] = []
    group = WaitGroup()
    for _ in range(dice.randrange(1, 6)):
        group.go(work, dice.getrandbits(32), True, faults)
    threads = [
        threading.Thread(target=work, args=(dice.getrandbits(32), False, faults))
        for _ in range(dice.randrange(3))
    ]
    for thread in threads:
        thread.start()
    pid = 0
    if dice.random() < 0.5:
        seed = dice.getrandbits(32)
        pid = os.fork()
        if pid == 0:
            child(seed)
    group.wait()
    for thread in threads:
        thread.join()
    if pid:
        require(os.waitpid(pid, 0)[1] == 0, "the child failed")
    require(not faults, "\n".join(faults))
    _core._check_heap()


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or secrets.randbits(32)))
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS") or 10))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:g} s", flush=True)
    warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)  # with threads: that is what is tested
    runtime.lock_os_thread()  # threading asks that the main thread forks
    dice = random.Random(options.seed)
    end = python_time.monotonic() + options.seconds
    rounds, first = 0, 0
    try:
        while python_time.monotonic() < end:
            one_round(dice)
            rounds += 1
            if os.environ["GORT_HEAP"] != "1":
                continue
            gc.collect()
            m = runtime.read_mem_stats()
            small = sum(row.size * (row.mallocs - row.frees) for row in m.by_size)
            require(small <= m.heap_alloc <= m.heap_inuse, "the bytes do not add up")
            size = resident() if MODE == "efence" else m.heap_sys - m.heap_released
            first = max(first, size) if rounds <= 10 else first
            require(MODE == "sbrk" or size < first + MEMORY_BOUND, f"the heap grew from {first} to {size}")
            require(MODE == "sbrk" or m.heap_alloc < 64 << 20, f"{m.heap_alloc} bytes are left over")
    except Violation as violation:
        print(f"violation in round {rounds}: {violation}")
        return 1
    print(f"{rounds} rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
