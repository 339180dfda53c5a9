"""py-spy: which goroutines run and which are parked, from outside."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import environment

PY_SPY = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
pytestmark = pytest.mark.skipif(PY_SPY is None, reason="py-spy is not installed")

PROGRAM = """\
from gort import chan, go

def parked(ch):
    ch.recv()

def computes():
    print("ready", flush=True)
    while True:
        pass

ch = chan()
for _ in range(3):
    go(parked, ch)
go(computes)
ch.recv()
"""


@contextlib.contextmanager
def program(folder: Path) -> Iterator[int]:
    path = folder / "prog.py"
    path.write_text(PROGRAM)
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, env=environment({}))
    try:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def spy(*arguments: str) -> str:
    assert PY_SPY
    run = subprocess.run([PY_SPY, *arguments], capture_output=True, text=True)
    if run.returncode and re.search("permission|not permitted|Unsupported version", run.stderr, re.I):
        pytest.skip(f"py-spy cannot look into processes here: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_dump(tmp_path: Path) -> None:
    with program(tmp_path) as pid:
        for _ in range(100):  # a sample may find the runtime's watcher awake, or another thread's turn
            threads = json.loads(spy("dump", "--json", "--pid", str(pid)))
            active = [t for t in threads if t["active"] and t["frames"]]
            if [t["frames"][0]["name"] for t in active] == ["computes"]:
                break
            time.sleep(0.05)
        else:
            raise AssertionError(threads)
    (computes,) = active
    idle = [t for t in threads if not t["active"] and t["frames"]]
    assert sorted(t["frames"][0]["name"] for t in idle) == ["<module>", "parked", "parked", "parked"]
    assert computes["os_thread_id"] not in {t["os_thread_id"] for t in idle}


def test_record(tmp_path: Path) -> None:
    """Without --gil: what computes is recorded, what is parked hardly ever."""
    raw = tmp_path / "raw"
    with program(tmp_path) as pid:
        spy("record", "--pid", str(pid), "-d", "2", "-r", "50", "-f", "raw", "-o", str(raw))
    counts: dict[str, int] = {}
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        name = stack.split(" ")[0]
        counts[name] = counts.get(name, 0) + int(count)
    assert counts.get("computes", 0) > counts.get("<module>", 0), counts
