"""Short runs of the stress program; long ones are for the hand: `make stress`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import execute

STRESS = str(Path(__file__).parent / "stress.py")

# Of the 16 MiB that are taken, half at least has to show; when they are given back, no more than a quarter.
MEASURE = """
import ctypes, mmap
from stress import held

libc = ctypes.PyDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

before = held()
blocks = [libc.malloc(1000) for _ in range(1 << 14)]
for block in blocks:
    libc.memset(block, 1, 1000)
print("allocated:", held() - before > 8 << 20)
for block in blocks:
    libc.free(block)
libc.malloc_trim(0)
print("freed:", held() - before < 4 << 20)

before = held()
mapped = mmap.mmap(-1, 16 << 20)
for at in range(0, 16 << 20, mmap.PAGESIZE):
    mapped[at] = 1
print("mapped:", held() - before > 8 << 20)
mapped.close()
print("unmapped:", held() - before < 4 << 20)
"""


@pytest.mark.parametrize("seed, tasks", [(42, 100), (7, 1000)])
def test_stress(seed: int, tasks: int) -> None:
    argv = ["--seed", str(seed), "--seconds", "2.5", "--tasks", str(tasks)]
    summary = r"{{\d+}} rounds, {{\d+}} tasks, {{\d+}} MiB"
    execute([sys.executable, STRESS, *argv], timeout=100).check(
        stdout=f"seed {seed}, 2.5 s, {tasks} tasks\n{summary}", stderr=""
    )


def test_held() -> None:
    """The measure of memory sees what is leaked and not what was freed, under a sanitizer too."""
    outcome = execute(
        [sys.executable, "-c", MEASURE], env={"PYTHONPATH": str(Path(STRESS).parent)}, timeout=60
    )
    outcome.check(stdout="allocated: True\nfreed: True\nmapped: True\nunmapped: True", stderr="")


def test_walker() -> None:
    """Stacks that are walked at random times hold no frame that was never on them."""
    outcome = execute([sys.executable, str(Path(__file__).parent / "walk.py"), "3", "1"], timeout=120)
    outcome.check(stdout="seed 1: {{\\d+}} pairs learned\n{{\\d+}} samples, ...", stderr="")


@pytest.mark.parametrize(
    "seed, modes", [(1, ""), (2, ""), (3, "clobberfree=1"), (4, "efence=1"), (5, "sbrk=1")]
)
def test_heap(seed: int, modes: str) -> None:
    argv = ["--seed", str(seed), "--seconds", "3"]
    program = [sys.executable, str(Path(__file__).parent / "heap.py"), *argv]
    outcome = execute(program, env={"GODEBUG": modes}, timeout=100)
    outcome.check(stdout=f"seed {seed}, 3 s\n{{{{\\d+}}}} rounds", stderr="")


@pytest.mark.parametrize("seed", [1, 2])
def test_fork(seed: int) -> None:
    program = [sys.executable, str(Path(__file__).parent / "fork.py"), "--seed", str(seed), "--seconds", "3"]
    outcome = execute(program, timeout=150)
    outcome.check(stdout=f"seed {seed}, 3 s\n{{{{\\d+}}}} rounds, {{{{\\d+}}}} forks", stderr="")


@pytest.mark.parametrize("seed", [1, 2])
def test_limits(seed: int) -> None:
    """Where there are few addresses, what is refused is refused cleanly."""
    argv = ["--seed", str(seed), "--seconds", "3"]
    program = [sys.executable, str(Path(__file__).parent / "limits.py"), *argv]
    outcome = execute(program, env={"MALLOC_ARENA_MAX": "1"}, timeout=100)
    outcome.check(stdout=f"seed {seed}, 3 s\n{{{{\\d+}}}} rounds", stderr="")
