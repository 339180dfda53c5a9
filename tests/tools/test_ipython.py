"""IPython: %debug after an exception that came from a goroutine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import execute

pytest.importorskip("IPython", reason="IPython is not installed")

PROGRAM = """\
import gort

def fail(n):
    here = n + 7
    return 1 // n

gort.run(fail, 0)
"""


def test_debug(tmp_path: Path) -> None:
    program = tmp_path / "prog.py"
    program.write_text(PROGRAM)
    outcome = execute(
        [sys.executable, "-m", "IPython", "--simple-prompt", "--colors=NoColor", "--no-banner"],
        stdin=f"%run {program}\n%debug\np here * 100\nquit\nexit\n",
        env={"HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")},
    )
    outcome.check()
    assert "ZeroDivisionError" in outcome.stdout and "fail()" in outcome.stdout
    assert "ipdb> 700" in outcome.stdout
