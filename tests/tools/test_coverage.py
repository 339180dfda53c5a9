"""coverage: its settings of concurrency, beside its cores (tests/compat/test_tracing.py)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import execute

coverage = pytest.importorskip("coverage", reason="coverage is not installed")

PROGRAM = """\
from gort.runtime import gosched
from gort.sync import WaitGroup

def worker(n):
    gosched()
    if n < 0:
        return None
    return n * 2

wg = WaitGroup()
for n in range(5):
    wg.go(worker, n)
wg.wait()
"""


@pytest.mark.parametrize("options", [["--concurrency=thread"], ["--branch", "--timid"]], ids=" ".join)
def test_lines(tmp_path: Path, options: list[str]) -> None:
    program, data = tmp_path / "prog.py", tmp_path / "data"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "coverage", "run", f"--data-file={data}", *options, str(program)]
    execute(command).check(stdout="", stderr="")
    measured = coverage.CoverageData(str(data))
    measured.read()
    lines = {n for n, line in enumerate(PROGRAM.splitlines(), 1) if line.strip()}
    assert lines - set(measured.lines(str(program))) == {7}
