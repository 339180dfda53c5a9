"""gort under pytest: what would end a program fails the test that runs, and the session goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import Outcome, execute

PLUGIN = ["-p", "pytest_gort"] if "pytest_gort" not in sys.modules else []


def session(tmp_path: Path, text: str, *options: str) -> Outcome:
    path = tmp_path / "test_user.py"
    path.write_text(text)
    flags = ["-p", "no:cacheprovider", "--timeout=30", "--color=no"]
    command = [sys.executable, "-m", "pytest", *PLUGIN, *flags, *options]
    return execute([*command, str(path)], timeout=100)


ESCAPES = """
import os
from gort import chan, go, runtime, time

def broken():
    raise ValueError("from a goroutine")

def wait_a_little():
    try:
        time.sleep(0.001)
    except RuntimeError:
        pass

def test_main_sleeps():
    go(broken)
    time.sleep(60)

def test_main_waits_for_what_never_comes():
    go(broken)
    chan().recv()

def test_main_is_busy():
    go(broken)
    while runtime.num_goroutine() > 1:
        time.sleep(0)

def test_main_fails_too():
    go(broken)
    try:
        time.sleep(60)
    except RuntimeError:
        assert 1 == 2

def test_two():
    go(broken)
    go(broken)
    while runtime.num_goroutine() > 1:
        wait_a_little()
    wait_a_little()

def test_exit():
    go(os.sys.exit, 3)
    time.sleep(60)

def test_fine():
    c = chan()
    go(c.send, 1)
    assert c.recv() == 1
"""


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_an_exception_that_escapes_a_goroutine_fails_the_test(tmp_path: Path, capture: str) -> None:
    outcome = session(tmp_path, ESCAPES, f"--capture={capture}")
    text = outcome.stdout
    assert outcome.status == 1, text + outcome.stderr
    assert "6 failed, 1 passed" in text, text
    assert 'raise ValueError("from a goroutine")' in text and "in broken" not in outcome.stderr
    assert "exceptions that escaped goroutines (2 sub-exceptions)" in text
    assert "assert 1 == 2" in text and "SystemExit: 3" in text
    names = [
        "main_sleeps",
        "main_waits_for_what_never_comes",
        "main_is_busy",
        "main_fails_too",
        "two",
        "exit",
    ]
    assert [name for name in names if f"_ test_{name} _" not in text] == []  # the headings of failures


DEADLOCK = """
import pytest
from gort import chan, go, sync

def stuck(c):
    c.recv()

def test_deadlock():
    go(stuck, chan())
    chan().recv()

@pytest.fixture
def dead():
    chan().recv()

def test_fixture(dead):
    pass

def test_fine():
    c = chan()
    go(c.send, 1)
    assert c.recv() == 1

def test_again():
    mu = sync.Mutex()
    mu.lock()
    with pytest.raises(RuntimeError, match="all goroutines are asleep - deadlock!"):
        mu.lock()
    mu.unlock()
    assert mu.try_lock()
"""


def test_a_deadlock_fails_the_test_that_waits(tmp_path: Path) -> None:
    outcome = session(tmp_path, DEADLOCK)
    text = outcome.stdout
    assert outcome.status == 1, text + outcome.stderr
    assert "1 failed, 2 passed, 1 error" in text, text
    assert "gort.runtime.Error: all goroutines are asleep - deadlock!" in text
    assert "Captured goroutines call" in text and "[chan receive]:" in text and "test_user.stuck(" in text


GOEXIT = """
from gort import chan, run, runtime, time

def test_goexit():
    runtime.goexit()

def test_run():
    assert run(len, "abc") == 3

def test_wait():
    time.sleep(0.001)
    time.after(0.001).recv()
"""


def test_goexit_ends_the_test_alone(tmp_path: Path) -> None:
    outcome = session(tmp_path, GOEXIT)
    assert outcome.status == 1 and "1 failed, 2 passed" in outcome.stdout, outcome.stdout + outcome.stderr


def test_a_child_of_fork_is_a_program(tmp_path: Path) -> None:
    outcome = session(
        tmp_path,
        """
import os
from gort import go, time

def test_child():
    pid = os.fork()
    if pid == 0:
        os.close(2)
        go(lambda: 1 / 0)
        time.sleep(10)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
""",
    )
    assert outcome.status == 0, outcome.stdout + outcome.stderr


def test_a_session_without_gort_does_not_load_it(tmp_path: Path) -> None:
    outcome = session(
        tmp_path,
        """
import sys

def test_modules():
    assert "pytest_gort" in sys.modules
    assert not [name for name in sys.modules if name.partition(".")[0] == "gort"]
""",
    )
    assert outcome.status == 0, outcome.stdout + outcome.stderr
