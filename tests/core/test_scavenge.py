"""The scavenger: idle memory goes back to the kernel, and the figures agree with the kernel's."""

from __future__ import annotations

import os
import re

import pytest

from harness import isolated, run_source

KERNEL = """
import os, time
from gort import go, chan, runtime, time as gtime
from gort.runtime import debug

def smaps(field):
    "MiB of the heap's mappings, as the kernel counts."
    total, found, ours = 0, False, False
    for line in open("/proc/self/smaps"):
        first = line.split()[0]
        if "-" in first:
            ours = first.startswith(("c0", "40000"))
            found |= ours
        elif first == field + ":" and ours:
            total += int(line.split()[1])
    assert found, "the heap is not where it wants to be"
    return total // 1024

def resident():
    m = runtime.read_mem_stats()
    return (m.heap_sys - m.heap_released) >> 20

def kept():
    m = runtime.read_mem_stats()
    return (m.heap_idle - m.heap_released) >> 20

def agrees():
    "The scavenger may give more back while smaps is read: both figures are of a time when it did not."
    before, rss, after = resident(), smaps("Rss"), resident()
    while before != after:
        before, rss, after = after, smaps("Rss"), resident()
    return abs(rss - after) <= 4 or f"{rss} MiB, said to be {after}"

def fill(mib):
    return [bytes(1000) for _ in range(mib * 1024 * 1024 // 1152)]

def wait_for(low):
    for _ in range(1000):
        if kept() <= low:
            return "given back"
        time.sleep(0.05)
    return f"{kept()} MiB were kept"

"""


def program(source: str, stdout: str, stderr: str | None = "", **env: str) -> None:
    run_source(KERNEL + source, env=env).check(stdout=stdout, stderr=stderr)


def test_in_the_background() -> None:
    """Some seconds after it was last needed, though main does nothing but sleep."""
    program(
        """
blocks = fill(150)
del blocks
print(kept() > 100)
print(wait_for(12))
print(agrees())
""",
        "True\ngiven back\nTrue",
    )


def test_while_all_goroutines_are_parked() -> None:
    """sysmon sleeps then; the memory that was freed last wakes it in time."""
    program(
        """
ch, out = chan(), chan()
def waits():
    ch.recv()
    for _ in range(4):
        gtime.sleep(7)
        if kept() <= 12:
            break
    out.send(kept())
go(waits)
blocks = fill(150)
gtime.sleep(0.2)
del blocks
ch.send(None)
print(out.recv() <= 12)
""",
        "True",
    )


def test_what_is_needed_again_is_kept() -> None:
    """A need that goes up and down within seconds keeps its memory."""
    program(
        """
end, faults = time.monotonic() + 5, []
first = None
while time.monotonic() < end:
    blocks = fill(100)
    del blocks
    time.sleep(0.1)
    m = runtime.read_mem_stats()
    first = m.heap_released if first is None else first
    faults.append(m.heap_released - first)
print(max(faults) >> 20 < 30, kept() > 60)
""",
        "True True",
    )


def test_scattered_survivors() -> None:
    """One object in a thousand stays: what lies between goes."""
    program(
        """
class Node:
    def __init__(self, i):
        self.i, self.text = i, str(i)
nodes = [Node(i) for i in range(400_000)]
peak = runtime.read_mem_stats().heap_alloc >> 20
nodes = nodes[::1000]
print(wait_for(peak // 10), len(nodes))
""",
        "given back 400",
    )


def test_free_os_memory() -> None:
    program(
        """
blocks = fill(100)
del blocks
debug.free_os_memory()
print(kept(), smaps("Rss") < 20, debug.FreeOSMemory is debug.free_os_memory)
""",
        "0 True True",
    )


def test_traces() -> None:
    source = """
import gc
gc.disable()
blocks = fill(100)
del blocks
debug.free_os_memory()
blocks = fill(100)
del blocks
print(wait_for(12))
time.sleep(1.2)
"""
    outcome = run_source(KERNEL + source, env={"GODEBUG": "gctrace=1"})
    outcome.check(stdout="given back", stderr=None)
    lines = [line for line in outcome.stderr.splitlines() if "scvg" in line]
    lines.sort(key=lambda line: not line.startswith("forced"))  # the background may come first, or between
    figures = r"scvg: inuse: (\d+), idle: (\d+), sys: (\d+), released: (\d+), consumed: (\d+) \(MB\)"
    assert re.fullmatch(r"forced scvg: \d+ MB released", lines[0])
    assert re.fullmatch(f"forced {figures}", lines[1])
    background = lines[2:]
    assert background and all(re.fullmatch(rf"scvg: \d+ MB released|{figures}", line) for line in background)
    assert sum(int(match) for match in re.findall(r"^scvg: (\d+) MB", "\n".join(lines), re.M)) > 80
    for inuse, idle, sys, released, consumed in re.findall(figures, outcome.stderr):
        assert abs(int(inuse) + int(idle) - int(sys)) <= 1
        assert abs(int(released) + int(consumed) - int(sys)) <= 1


def test_debug_mode() -> None:
    """scavenge=1 gives everything back at once, and traces it."""
    source = """
blocks = fill(50)
del blocks
print(wait_for(1))
"""
    outcome = run_source(KERNEL + source, env={"GODEBUG": "scavenge=1,gctrace=1"})
    outcome.check(stdout="given back", stderr=None)
    assert "scvg: " in outcome.stderr


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer has the heap's usual addresses"
)
@pytest.mark.parametrize(("value", "lazy"), [("1", False), ("0", True)])
def test_madvdontneed(value: str, lazy: bool) -> None:
    """With MADV_FREE the kernel keeps the pages until it needs them, and shows them as lazily freed."""
    program(
        """
blocks = fill(100)
del blocks
debug.free_os_memory()
print(kept(), smaps("LazyFree") > 80, smaps("Rss") > 80)
zeros = [bytes(5000) for _ in range(20_000)]  # what was freed by MADV_FREE may still be there
print(all(block == bytes(5000) for block in zeros))
""",
        f"0 {lazy} {lazy}\nTrue",
        GODEBUG=f"madvdontneed={value}",
    )


def test_in_a_forked_child() -> None:
    program(
        """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads: sysmon is one
blocks = fill(100)
del blocks
time.sleep(0.01)
pid = os.fork()
if pid == 0:
    blocks = fill(120)
    del blocks
    os._exit(0 if wait_for(14) == "given back" else 1)
print(os.waitpid(pid, 0)[1], wait_for(12))
""",
        "0 given back",
    )


def test_after_two_forks_at_once() -> None:
    """sysmon ends before a fork, and the second one finds it gone: somebody has to start it again."""
    source = """
import os, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads
os.register_at_fork(before=lambda: time.sleep(0.02))  # Between gort's hook and the fork, as logging's may.
"""
    source += KERNEL
    source += """
import threading

def fork():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)

blocks = fill(150)
del blocks
print(wait_for(20))
threads = [threading.Thread(target=fork) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
blocks = fill(150)
del blocks
print(wait_for(20))
"""
    run_source(source).check(stdout="given back\ngiven back", stderr="")


@isolated(env={"GODEBUG": "scavenge=1"}, timeout=300)
def test_at_the_same_time_as_everything_else() -> None:
    """Allocation, collections and forks while the scavenger works as hard as it can."""
    import random
    import threading

    from gort import _core, runtime
    from gort.sync import WaitGroup

    def work(seed: int) -> None:
        dice, held = random.Random(seed), {}
        for i in range(1000):
            size = dice.choice((100, 3000, 50_000, 500_000))
            held[dice.randrange(60)] = (i % 256, bytes([i % 256]) * size)
            if i % 500 == 0:
                _core._check_heap()
                runtime.gosched()
        for value, block in held.values():
            assert block.count(value) == len(block)

    group = WaitGroup()
    for seed in range(3):
        group.go(work, seed)
    threads = [threading.Thread(target=work, args=(seed,)) for seed in (7, 8)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                work(99)
                _core._check_heap()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
    group.wait()
    for thread in threads:
        thread.join()
    _core._check_heap()
