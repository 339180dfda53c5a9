"""memray: memory is what the program has, not what the runtime reserves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import execute

memray = pytest.importorskip("memray", reason="memray is not installed")

PROGRAM = """\
from gort import chan, go

def holds(ch, ready):
    data = bytearray(1 << 20)
    ready.send(None)
    ch.recv()

ch, ready = chan(), chan()
for _ in range(20):
    go(holds, ch, ready)
for _ in range(20):
    ready.recv()
"""


def test_peak(tmp_path: Path) -> None:
    program, file = tmp_path / "prog.py", tmp_path / "memray.bin"
    program.write_text(PROGRAM)
    execute([sys.executable, "-m", "memray", "run", "-q", "-o", str(file), str(program)]).check(stdout="")
    records = list(memray.FileReader(file).get_high_watermark_allocation_records(merge_threads=True))
    assert 20 << 20 < sum(record.size for record in records) < 100 << 20
    by_function: dict[str, int] = {}
    for record in records:
        for function, _, _ in record.stack_trace(max_stacks=1):
            by_function[function] = by_function.get(function, 0) + record.size
    assert by_function["holds"] >= 20 << 20
