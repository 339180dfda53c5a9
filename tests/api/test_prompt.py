"""gort at a prompt: what would end a program ends a statement."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

from harness import Outcome, execute

# From 3.13 on the source lines are shown, and each statement has a file of its own.
PANIC = re.compile(
    r"""Traceback \(most recent call last\):
  File "<stdin(-\d+)?>(-\d+)?", line 1, in bad
(?:    .*\n)*ValueError: from a goroutine

goroutine 2 \[running\]:
__main__\.bad\(\.\.\.\)
\t<stdin(-\d+)?>(-\d+)?:1
created by __main__\.<module> in goroutine 1
\t<stdin(-\d+)?>(-\d+)?:1 \+0x"""
)
DEAD = "gort.runtime.Error: all goroutines are asleep - deadlock!"


def prompt(text: str, **env: str) -> Outcome:
    return execute([sys.executable, "-i", "-q", "-c", "import sys; sys.ps1 = ''"], stdin=text, env=env)


STATEMENTS = """import gort
from gort import chan, go
def bad(): raise ValueError("from a goroutine")

go(bad); gort.time.sleep(0.05)
1 + 1
"""


def test_a_panic_is_printed_and_the_prompt_comes_back() -> None:
    outcome = prompt(STATEMENTS)
    assert (outcome.status, outcome.stdout) == (0, "2\n"), outcome.stderr
    assert PANIC.search(outcome.stderr) and outcome.stderr.count("Traceback") == 1, outcome.stderr


def test_a_deadlock_is_an_exception_in_main() -> None:
    outcome = prompt(
        STATEMENTS.partition("\n\n")[0] + "\n\nchan().recv()\n1 + 1\n"
        "go(chan().recv); gort.sync.WaitGroup().wait(); chan().send(1)\n2 + 2\n"
        "c = chan(); import threading\n"
        "threading.Timer(0.3, c.send, (7,)).start(); c.recv()\n"
    )
    assert (outcome.status, outcome.stdout) == (0, "2\n4\n7\n"), outcome.stderr
    assert outcome.stderr.count(DEAD) == 2
    # of main the traceback is enough, and the others are shown below it
    assert f"{DEAD}\n\ngoroutine 2 [chan receive]:\n" in outcome.stderr.replace(
        "goroutine 3 ", "goroutine 2 "
    )


def test_goexit_and_sys_exit() -> None:
    outcome = prompt(
        "import gort, sys\nfrom gort import *\n"
        "gort.runtime.goexit()\n1 + 1\ngort.time.sleep(0.001)\n2 + 2\n"
        "go(sys.exit, 3); gort.time.sleep(0.05)\n3 + 3\n"
        "sys.exit(4)\n"
    )
    assert (outcome.status, outcome.stdout) == (4, "2\n4\n6\n"), outcome.stderr
    assert "gort.runtime.Goexit" in outcome.stderr and "SystemExit: 3" in outcome.stderr


def test_gos_strictness_on_request() -> None:
    outcome = prompt(STATEMENTS, GORT_INTERACTIVE="0")
    assert (outcome.status, outcome.stdout) == (2, "")
    assert PANIC.search(outcome.stderr), outcome.stderr
    outcome = prompt("import gort\ngort.chan().recv()\n1 + 1\n", GORT_INTERACTIVE="0")
    assert (outcome.status, outcome.stdout) == (2, "")
    assert "fatal error: all goroutines are asleep - deadlock!" in outcome.stderr


def test_a_prompt_that_gort_does_not_see() -> None:
    program = (
        "import gort, sys\n"
        "gort.go(lambda: 1 / 0); gort.time.sleep(0.05)\n"
        "try: gort.chan().recv()\n"
        "except gort.runtime.Error as exc: print(exc)\n"
    )
    outcome = execute([sys.executable, "-c", program], env={"GORT_INTERACTIVE": "1"})
    assert (outcome.status, outcome.stdout) == (0, "all goroutines are asleep - deadlock!\n"), outcome.stderr
    assert "ZeroDivisionError: division by zero\n\ngoroutine 2 [running]:" in outcome.stderr
    outcome = execute([sys.executable, "-c", program], env={"GORT_INTERACTIVE": "maybe"})
    assert outcome.status == 2
    assert outcome.stderr.startswith(
        "gort: GORT_INTERACTIVE='maybe' is not 0 or 1; gort looks for a prompt\nTraceback"
    )


def test_a_console_that_comes_and_goes() -> None:
    """As a debugging console in a server does: sys.ps1 is there while it is."""
    outcome = execute(
        [
            sys.executable,
            "-c",
            "import gort, sys\n"
            "sys.ps1 = '> '\n"
            "gort.go(lambda: 1 / 0); gort.time.sleep(0.05)\n"
            "print('goes on', flush=True)\n"
            "del sys.ps1\n"
            "gort.go(lambda: 1 / 0); gort.time.sleep(20)\n",
        ]
    )
    assert (outcome.status, outcome.stdout) == (2, "goes on\n")
    assert outcome.stderr.count("ZeroDivisionError") == 2, outcome.stderr


def test_stderr_of_the_session_is_used() -> None:
    """A notebook shows what is written to sys.stderr."""
    outcome = execute(
        [
            sys.executable,
            "-c",
            "import gort, io, sys\n"
            "sys.ps1 = '> '\n"
            "sys.stderr = io.StringIO()\n"
            "gort.go(lambda: 1 / 0); gort.time.sleep(0.05)\n"
            "print(sys.stderr.getvalue().count('ZeroDivisionError'))\n"
            "sys.stderr = None\n"
            "gort.go(lambda: 1 / 0); gort.time.sleep(0.05)\n",
        ]
    )
    assert (outcome.status, outcome.stdout) == (0, "1\n")
    assert "ZeroDivisionError: division by zero\n\ngoroutine 3 [running]:" in outcome.stderr, outcome.stderr


def test_a_child_of_fork_is_a_program() -> None:
    outcome = execute(
        [
            sys.executable,
            "-c",
            "import gort, os, sys\n"
            "sys.ps1 = '> '\n"
            "pid = os.fork()\n"
            "if pid == 0:\n"
            "    gort.go(lambda: 1 / 0); gort.time.sleep(20)\n"
            "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n",
        ]
    )
    assert (outcome.status, outcome.stdout) == (0, "2\n")
    assert "ZeroDivisionError: division by zero" in outcome.stderr


class Terminal:
    """python at a terminal."""

    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        self.text = b""
        self.process = subprocess.Popen(
            [sys.executable, "-q"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "dumb", "PYTHON_BASIC_REPL": "1"},
        )
        os.close(slave)

    def send(self, line: str) -> None:
        os.write(self.master, line.encode() + b"\n")

    def expect(self, pattern: str) -> None:
        deadline = time.monotonic() + 60
        while not (found := re.search(pattern.encode(), self.text, re.DOTALL)):
            assert time.monotonic() < deadline, self.text
            if select.select([self.master], [], [], 1)[0]:
                self.text += os.read(self.master, 4096)
        self.text = self.text[found.end() :]


WAITS = [
    "chan().recv()",
    "gort.time.sleep(100)",
    "gort.select(chan())",
    "mu.lock()",
    "wg.wait()",
    "gort.sync.Cond(mu).wait()",
]


def test_ctrl_c_ends_any_wait() -> None:
    at = Terminal()
    at.expect(">>> ")
    at.send("import gort; from gort import chan, go; from gort.sync import Mutex, WaitGroup")
    at.expect(">>> ")
    # Somebody who could wake main: no wait is a deadlock.
    at.send("mu = Mutex(); mu.lock(); wg = WaitGroup(); wg.add(1); go(gort.time.sleep, 1000)")
    at.expect(">>> ")
    for wait in WAITS:
        at.send(f"print('now'); {wait}")
        at.expect("\nnow\r\n")
        time.sleep(0.1)
        os.kill(at.process.pid, signal.SIGINT)
        at.expect("KeyboardInterrupt.*>>> ")
    at.send("print(6 * 7); exit(5)")
    at.expect("42")
    # From 3.14 on CPython's own prompt ends by SIGINT if a statement was interrupted before.
    assert at.process.wait(60) in ((5,) if sys.version_info < (3, 14) else (5, -signal.SIGINT))
    os.close(at.master)
