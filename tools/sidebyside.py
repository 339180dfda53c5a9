"""The same tests with python and with `gort run`: for cpython_tests.py and library_tests.py."""

import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

OK, SKIPPED, FAILED, MISSING = "ok", "skipped", "failed", "not run"
PROCESS = "(process)"  # stands for a process among its tests


# Runs a module as the main one, not in the main goroutine but in another one, or not in the main thread. A
# KeyboardInterrupt that the tests send to the main one is nothing to it.
INSIDE = """
import runpy, sys, {module}
def main():
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status.append(end.code)
    finally:
        ended.append(True)
del sys.argv[0]
status, ended = [], []
{start}
while not ended:
    try:
        {wait}
    except KeyboardInterrupt:
        pass
sys.exit(status[0] if status else 1)
"""
IN_GOROUTINE = INSIDE.format(module="gort.time", start="gort.go(main)", wait="gort.time.sleep(0.1)")
IN_THREAD = INSIDE.format(
    module="threading, time", start="threading.Thread(target=main).start()", wait="time.sleep(0.1)"
)


@dataclass
class Outcome:
    """What one process made of its tests; PROCESS has its exit status."""

    tests: dict[str, str] = field(default_factory=dict)
    text: str = ""


def run(
    module: Sequence[str],
    gort: bool,
    folder: str,
    timeout: float,
    env: Mapping[str, str] | None = None,
    *,
    inside: bool = False,
) -> Outcome:
    """Runs `python -m MODULE ...` or `python -m gort run -m MODULE ...` in a folder and a process group.

    Nothing of the environment that would change Python's or gort's behaviour is handed on; `env` is added,
    and commands of the same installation are found first. `inside`: with gort in a goroutine that is not the
    main one, and without in a thread that is not the main one.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GO", "PYTHON", "PYTEST"))}
    path = os.pathsep.join((os.path.dirname(sys.executable), kept.get("PATH", os.defpath)))
    words = ["-m", "gort", "run", "-m"] if gort else ["-m"]
    if inside:
        words = ["-c", IN_GOROUTINE if gort else IN_THREAD]
    process = subprocess.Popen(
        [sys.executable, *words, *module],
        cwd=folder,
        env={**kept, "PATH": path, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    late = False
    try:
        data, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        late = True
    finally:  # what the tests left running would hold the pipe
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    if late:
        data, _ = process.communicate()
    code = process.returncode
    status = "time limit" if late else signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return Outcome({PROCESS: status}, data.decode(errors="backslashreplace"))


def read_junit(path: Path) -> Iterator[tuple[str, str]]:
    """Names and outcomes of a report in JUnit's form; none if there is no such file."""
    for case in ET.parse(path).iter("testcase") if path.exists() else ():
        if name := case.get("name"):
            bad = case.find("failure") is not None or case.find("error") is not None
            outcome = FAILED if bad else SKIPPED if case.find("skipped") is not None else OK
            yield f"{case.get('classname')}::{name}" if case.get("classname") else name, outcome


def differences(plain: Outcome, under: Outcome) -> dict[str, tuple[str, str]]:
    """The tests whose outcomes are not the same: (in python, under gort)."""
    names = sorted(plain.tests.keys() | under.tests.keys())
    pairs = {name: (plain.tests.get(name, MISSING), under.tests.get(name, MISSING)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
