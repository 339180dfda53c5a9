"""Runs every program of this folder under each runner that its header names."""

from __future__ import annotations

import pytest

from harness import Program, programs, version_fits

CASES = [
    pytest.param(program, runner, id=f"{program.path.stem}-{runner}")
    for program in programs()
    for runner in program.runners
]


@pytest.mark.parametrize("program, runner", CASES)
def test_program(program: Program, runner: str) -> None:
    __tracebackhide__ = True
    if not version_fits(program.versions):
        pytest.skip(f"is for Python {program.versions}")
    program.check(runner)
