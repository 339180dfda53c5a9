"""VizTracer: calls in goroutines are in its trace."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness import execute

pytest.importorskip("viztracer", reason="viztracer is not installed")

PROGRAM = """\
from gort import go, run
from gort.sync import WaitGroup

def leaf(n):
    return n * 2

def worker(n):
    return leaf(n)

wg = WaitGroup()
for n in range(5):
    wg.go(worker, n)
wg.wait()
print(run(worker, 21))
"""


def test_calls_in_goroutines(tmp_path: Path) -> None:
    program, trace = tmp_path / "prog.py", tmp_path / "trace.json"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "viztracer", "--quiet", "-o", str(trace), str(program)]
    execute(command).check(stdout="42\n", stderr="")
    events = json.loads(trace.read_text())["traceEvents"]
    calls = Counter(event["name"].split()[0] for event in events if event["ph"] == "X")
    assert calls["worker"] == calls["leaf"] == 6
