"""gort under pytest: what would end a program fails the test that runs, and the session goes on."""

from __future__ import annotations

import os
import subprocess
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
    assert "1 failed, 2 passed, 1 warning, 1 error" in text, text
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


XDIST = """
import threading, time
from gort import chan, go, sync

def test_deadlock():
    go(chan().recv)
    mu = sync.Mutex()
    mu.lock()
    mu.lock()

def test_thread():
    c = chan()
    threading.Thread(target=lambda: (time.sleep(0.5), c.send(1))).start()
    assert c.recv() == 1
"""


@pytest.mark.parametrize("options", [("-n", "1"), ("-n", "1", "--timeout-method=thread"), ()])
def test_threads_of_the_session_do_not_hide_a_deadlock(tmp_path: Path, options: tuple[str, ...]) -> None:
    outcome = session(tmp_path, XDIST, *options)
    text = outcome.stdout
    assert outcome.status == 1, text + outcome.stderr
    assert "1 failed, 1 passed" in text, text
    assert "gort.runtime.Error: all goroutines are asleep - deadlock!" in text
    assert "Captured goroutines call" in text and "[chan receive]:" in text


HANDLER = """
import os, signal, subprocess
from gort import chan

def test_a_handler_may_wake_somebody():
    c = chan(1)
    signal.signal(signal.SIGUSR1, lambda *_: c.send(3))
    subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -USR1 {os.getpid()}"])
    assert c.recv() == 3
"""


def test_a_handler_of_the_programs_may_wake_main(tmp_path: Path) -> None:
    outcome = session(tmp_path, HANDLER)
    assert outcome.status == 0, outcome.stdout + outcome.stderr


RACE = """
import asyncio, threading, time
import pytest
from gort import chan, go, runtime, sync

KINDS = ["send", "close", "go", "buffered", "cond"]

@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_comes_in_the_middle_of_the_question(kind):
    for i in range(150):
        ch = chan(int(kind == "buffered"))
        mu = sync.Mutex()
        cond = sync.Cond(mu)
        def act():
            time.sleep(0.0045 + i % 60 * 0.00003)
            if kind == "close":
                ch.close()
            elif kind == "go":
                go(ch.send, i)
            elif kind == "cond":
                with mu:
                    cond.signal()
            else:
                ch.send(i)
        if kind == "cond":
            mu.lock()
        threading.Thread(target=act).start()
        if kind == "cond":
            cond.wait()
            mu.unlock()
        else:
            assert ch.recv() == (None if kind == "close" else i)

def test_under_asyncio():
    async def wait():
        chan().recv()
    with pytest.raises(runtime.Error, match="deadlock!"):
        asyncio.run(wait())
"""


def test_a_thread_that_comes_in_the_middle_is_not_overlooked(tmp_path: Path) -> None:
    outcome = session(tmp_path, RACE)
    assert outcome.status == 0 and "6 passed" in outcome.stdout, outcome.stdout + outcome.stderr


LATER = """
import threading, time, types
from gort import chan

def test_a_thread_of_the_runner_that_runs_the_users_functions():
    ch = chan()
    later = types.ModuleType("execnet.later")
    exec("import time\\ndef call(f):\\n    time.sleep(0.5)\\n    f(7)", later.__dict__)
    threading.Thread(target=later.call, args=(ch.send,)).start()
    assert ch.recv() == 7

def test_deep_in_a_recursion():
    import sys
    ch = chan()
    threading.Thread(target=lambda: (time.sleep(0.3), ch.send(1))).start()
    def deeper(n):
        try:
            return deeper(n + 1)
        except RecursionError:
            return ch.recv()
    assert deeper(0) == 1

def test_where_nothing_works(monkeypatch):
    import builtins, os, signal
    ch = chan()
    threading.Thread(target=lambda: (time.sleep(0.3), ch.send(1))).start()
    def fails(*args, **kwargs):
        raise ValueError("of the program's")
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", fails)
        patch.setattr(builtins, "open", fails)
        patch.setattr(signal, "getsignal", fails)
        assert ch.recv() == 1
"""


def test_what_is_asked_never_fails_the_test(tmp_path: Path) -> None:
    outcome = session(tmp_path, LATER)
    assert outcome.status == 0 and "3 passed" in outcome.stdout, outcome.stdout + outcome.stderr


NESTED = """
import pytest
from gort import chan, runtime

def test_another_session(tmp_path):
    inner = tmp_path / "test_inner.py"
    inner.write_text("def test(): pass")
    assert pytest.main(["-p", "no:cacheprovider", str(inner)]) == 0

def test_this_one_goes_on():
    with pytest.raises(runtime.Error, match="deadlock!"):
        chan().recv()
"""


def test_a_session_within_a_session(tmp_path: Path) -> None:
    outcome = session(tmp_path, NESTED.replace('["-p"', f'[*{PLUGIN!r}, "-p"'))
    assert outcome.status == 0 and "2 passed" in outcome.stdout, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("leaks", ["warn", "ignore", "error"])
def test_nothing_that_escapes_is_lost(tmp_path: Path, leaks: str) -> None:
    text = "from gort import go\ndef test():\n    go(lambda: 1 / 0)\n"
    outcome = session(tmp_path, text, f"--gort-leaks={leaks}")
    assert outcome.status == 1 and "ZeroDivisionError" in outcome.stdout, outcome.stdout
    text = "from gort import go\ngo(lambda: 1 / 0)\ndef test(): pass\n"
    outcome = session(tmp_path, text, f"--gort-leaks={leaks}")
    assert outcome.status == 1 and "ZeroDivisionError" in outcome.stdout + outcome.stderr
    (tmp_path / "conftest.py").write_text(
        "from gort import go\ndef pytest_sessionfinish(): go(lambda: 1 / 0)\n"
    )
    outcome = session(tmp_path, "def test(): pass\n", f"--gort-leaks={leaks}")
    assert outcome.status == 1, outcome.stdout
    assert "gort: an exception escaped a goroutine outside of the tests" in outcome.stderr
    assert "ZeroDivisionError" in outcome.stderr


# -- what is fatal ---------------------------------------------------------------------------------

CRASH = """
import ctypes
import gort

def test_fine():
    print("captured")

def crash():
    ctypes.memset(8, 0, 8)

def test_crash():
    gort.go(crash)
    gort.time.sleep(20)
"""


@pytest.mark.parametrize(
    "options", ["--capture=fd", "--capture=sys", "--capture=tee-sys", "-s", "-p no:faulthandler", "-n 1"]
)
def test_a_crash_is_shown_and_names_the_test(tmp_path: Path, options: str) -> None:
    outcome = session(tmp_path, CRASH, *options.split())
    text = outcome.stderr
    assert outcome.status == (1 if options == "-n 1" else -11), outcome.stdout + text
    lines = text.splitlines()
    assert lines.count("fatal error: unexpected signal during runtime execution") == 1, text
    at = lines.index("fatal error: unexpected signal during runtime execution")
    assert lines[at + 1].startswith("[signal SIGSEGV: segmentation violation code=0x1 addr=0x8 pc=0x")
    assert lines[at + 2].startswith("[test ") and lines[at + 2].endswith("test_user.py::test_crash, call]")
    assert lines[at + 4 : at + 6] == ["goroutine 2 [running]:", "test_user.crash(...)"], text
    if options == "-n 1":
        assert "crashed while running" in outcome.stdout and "1 failed, 1 passed" in outcome.stdout


OVERFLOW = """
import gort
from gort.runtime import debug

def test_fatal():
    debug.set_max_threads(1)
    gort.go(print)
    gort.time.sleep(20)
"""


def test_a_fatal_error_is_shown_and_names_the_test(tmp_path: Path) -> None:
    outcome = session(tmp_path, OVERFLOW)
    assert outcome.status == 2, outcome.stdout + outcome.stderr
    assert "fatal error: thread exhaustion\n[test " in outcome.stderr, outcome.stderr
    assert "test_user.py::test_fatal, call]\n" in outcome.stderr


def test_without_the_plugin_what_is_fatal_is_shown_too(tmp_path: Path) -> None:
    path = tmp_path / "test_user.py"
    path.write_text("import os, tempfile\nsaved = os.dup(2)\nimport gort\n" + CRASH)
    command = [sys.executable, "-m", "pytest", "-p", "no:gort", "-p", "no:pytest_gort", "-s", str(path)]
    capture = (
        "import gort, os, tempfile\n"
        "with tempfile.TemporaryFile() as file:\n"
        "    os.dup2(file.fileno(), 2)\n"
        "    gort.go(lambda: 1 / 0)\n"
        "    gort.time.sleep(20)\n"
    )
    outcome = execute([sys.executable, "-c", capture])
    assert outcome.status == 2
    assert outcome.stderr.count("ZeroDivisionError: division by zero") == 1, outcome.stderr
    outcome = execute(command, timeout=100)
    assert outcome.status == -11
    assert "fatal error: unexpected signal" in outcome.stderr


def test_a_log_in_place_of_standard_error_has_it_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    outcome = execute(
        [
            sys.executable,
            "-c",
            f"import gort, os\nos.dup2(os.open({str(log)!r}, os.O_WRONLY | os.O_CREAT), 2)\n"
            "gort.go(lambda: 1 / 0)\ngort.time.sleep(20)\n",
        ]
    )
    assert outcome.status == 2
    assert log.read_text() == outcome.stderr and "ZeroDivisionError" in outcome.stderr


def test_a_pipe_that_nobody_reads_does_not_keep_the_process(tmp_path: Path) -> None:
    program = (
        "import gort, os\n"
        f"os.dup2(os.open({str(tmp_path / 'log')!r}, os.O_WRONLY | os.O_CREAT), 2)\n"
        "def f(): gort.chan().recv()\n"
        "for _ in range(3000): gort.go(f)\n"
        "gort.time.sleep(0.1)\n"
        "raise ValueError\n"
    )
    read, write = os.pipe()
    command = [sys.executable, "-c", program.replace("raise ValueError", "gort.go(lambda: 1 / 0); f()")]
    with subprocess.Popen(command, stderr=write, env={**os.environ, "GOTRACEBACK": "all"}) as process:
        assert process.wait(60) == 2
    assert (tmp_path / "log").read_text().count("[chan receive]:") > 2000
    os.close(read)
    os.close(write)


def test_the_duplicate_is_gone_from_daemons_and_never_another_file(tmp_path: Path) -> None:
    other = tmp_path / "other"
    execute(
        [
            sys.executable,
            "-c",
            "import gort, os\n"
            "if os.fork():\n"
            "    os._exit(0)\n"
            "os.dup2(os.open('/dev/null', os.O_WRONLY), 2)\n"
            "os.dup2(2, 1)\n"
            "import time\ntime.sleep(30)\n",
        ],
        timeout=20,  # of the reader of the pipe, which the child must not keep open
    ).check(stdout="", stderr="")
    outcome = execute(
        [
            sys.executable,
            "-c",
            f"import gort, os\nos.closerange(3, 100)\n"
            f"[os.open({str(other)!r}, os.O_WRONLY | os.O_CREAT) for _ in range(50)]\n"
            "os.dup2(os.open('/dev/null', os.O_WRONLY), 2)\n"
            "gort.go(lambda: 1 / 0)\ngort.time.sleep(20)\n",
        ]
    )
    assert (outcome.status, outcome.stderr, other.read_text()) == (2, "", "")


# -- goroutines that are left behind --------------------------------------------------------------------

LEAKS = """
import pytest
from gort import chan, go, time

@pytest.fixture(scope="module")
def server():
    c = chan()
    go(serve, c)
    yield c
    c.close()

def serve(c):
    for work in c:
        go(work.recv)

@pytest.fixture
def clean():
    c = chan()
    go(c.recv)
    yield c
    c.close()

@pytest.fixture
def leaky():
    go(chan().recv)

def stuck(c):
    c.recv()

def test_of_the_module(server):
    server.send(chan())

def test_served(server):
    server.send(chan())

def test_clean(clean):
    pass

def test_late():
    go(time.sleep, 0.05)

def test_leaky_fixture(leaky):
    pass

def test_leaks():
    c = chan()
    for _ in range(3):
        go(stuck, c)

def test_fails_and_leaks():
    go(stuck, chan())
    assert 1 == 2
"""


def test_goroutines_left_behind_are_named(tmp_path: Path) -> None:
    outcome = session(tmp_path, LEAKS)
    text = outcome.stdout
    assert outcome.status == 1, text + outcome.stderr
    assert "1 failed, 6 passed, 3 warnings" in text, text
    warnings = [line.split("Warning: ")[1] for line in text.splitlines() if "LeakWarning" in line]
    assert [line.split("::")[1] for line in warnings] == [
        "test_leaky_fixture: 1 goroutine is left behind",
        "test_leaks: 3 goroutines are left behind",
        "test_fails_and_leaks: 1 goroutine is left behind",
    ]
    assert "(and 2 more like this one)" in text
    assert "test_user.stuck(...)" in text and "created by test_user.test_leaks in goroutine 1" in text


@pytest.mark.parametrize("way", ["option", "ini"])
def test_goroutines_left_behind_can_be_errors(tmp_path: Path, way: str) -> None:
    options = ["--gort-leaks=error"] if way == "option" else ["-o", "gort_leaks=error"]
    outcome = session(tmp_path, LEAKS, *options)
    assert "1 failed, 6 passed, 3 errors" in outcome.stdout, outcome.stdout
    assert "::test_leaks: 3 goroutines are left behind" in outcome.stdout
    outcome = session(tmp_path, LEAKS, "-o", "gort_leaks=error", "--gort-leaks=ignore")
    assert "1 failed, 6 passed in" in outcome.stdout, outcome.stdout


def test_bad_words_for_leaks(tmp_path: Path) -> None:
    outcome = session(tmp_path, LEAKS, "-o", "gort_leaks=loud")
    assert outcome.status == 4
    assert outcome.stderr == "ERROR: gort_leaks: 'loud' is not one of warn, error, ignore\n\n"
    outcome = session(tmp_path, LEAKS, "--gort-leaks=loud")
    assert outcome.status == 4 and "argument --gort-leaks: invalid choice: 'loud'" in outcome.stderr


# -- where the plugin cannot do its work -----------------------------------------------------------------


def test_an_older_pytest_gets_one_line(tmp_path: Path) -> None:
    path = tmp_path / "test_user.py"
    path.write_text("import gort\ndef test(): pass\ndef test_two(): pass\n")
    program = (
        "import pytest, sys\n"
        "pytest.version_tuple, pytest.__version__ = (7, 4, 4), '7.4.4'\n"
        f"sys.exit(pytest.main([{', '.join(map(repr, [*PLUGIN, '-p', 'no:cacheprovider', str(path)]))}]))"
    )
    outcome = execute([sys.executable, "-c", program])
    assert outcome.status == 0, outcome.stdout + outcome.stderr
    assert "2 passed, 1 warning" in outcome.stdout
    assert "gort's plugin needs pytest 8.0 or newer, and this is 7.4.4: an exception" in outcome.stdout


def test_without_the_plugin_gort_ends_the_session(tmp_path: Path) -> None:
    path = tmp_path / "test_user.py"
    path.write_text("import gort\ndef test():\n gort.go(lambda: 1 / 0)\n gort.time.sleep(20)\n")
    off = ["-p", "no:gort", "-p", "no:pytest_gort", "-p", "no:cacheprovider"]
    outcome = execute([sys.executable, "-m", "pytest", *off, str(path)])
    assert outcome.status == 2
    assert "ZeroDivisionError" not in outcome.stderr  # captured before gort was there to keep the true one


def test_gort_that_cannot_be_loaded_fails_its_own_tests_only(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'gort._traceback':\n"
        "            raise ImportError('gort is built for another interpreter')\n"
        "sys.meta_path.insert(0, Refuse())\n"
    )
    (tmp_path / "test_gort.py").write_text("import gort\n")
    outcome = session(tmp_path, "def test(): pass\n", "--continue-on-collection-errors", str(tmp_path))
    assert outcome.status == 1
    assert outcome.stdout.count("E   ImportError: gort is built for another interpreter") == 1
    assert "1 passed, 1 error" in outcome.stdout, outcome.stdout
