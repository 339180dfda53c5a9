"""Short runs of the stress program; long ones are for the hand: `make stress`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import execute

STRESS = str(Path(__file__).parent / "stress.py")


@pytest.mark.parametrize("seed, tasks", [(42, 100), (7, 1000)])
def test_stress(seed: int, tasks: int) -> None:
    argv = ["--seed", str(seed), "--seconds", "2.5", "--tasks", str(tasks)]
    summary = r"{{\d+}} rounds, {{\d+}} tasks, {{\d+}} MiB"
    execute([sys.executable, STRESS, *argv], timeout=100).check(
        stdout=f"seed {seed}, 2.5 s, {tasks} tasks\n{summary}", stderr=""
    )


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
