"""`gort run --children`: the Python processes that a program starts, and theirs, run under gort, too.

The measure is `gort run` of the child itself, and python for all that gort must leave alone.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import gort as package
from harness import Outcome, environment, execute

GORT = os.path.join(sysconfig.get_path("scripts"), "gort")
PACKAGES = os.path.dirname(os.path.dirname(package.__file__))
FOLDER = os.path.join(os.path.dirname(package.__file__), "_children")

# Starts python with its own arguments, and ends as that ends. HIDDEN follows gort's folder in PYTHONPATH.
PARENT = """\
import os, signal, subprocess, sys
env = dict(os.environ)
path = [env.get("PYTHONPATH"), env.pop("HIDDEN", None)]
if any(path):
    env["PYTHONPATH"] = os.pathsep.join(filter(None, path))
status = subprocess.run([env.pop("PYTHON", sys.executable), *sys.argv[1:]], env=env).returncode
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    signal.raise_signal(-status)
sys.exit(status)
"""
REACHED = "import sys; print('gort' in sys.modules)"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the parent."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parent.py").write_text(PARENT)
    return tmp_path


def gort(*words: str, env: dict[str, str] | None = None, stdin: str = "") -> Outcome:
    return execute([GORT, "run", *words], env=env, stdin=stdin)


def child(*words: str, env: dict[str, str] | None = None, stdin: str = "") -> Outcome:
    """Python with these arguments, as the child of a program that `gort run --children` runs."""
    return gort("--children", "parent.py", *words, env=env, stdin=stdin)


def program(source: str, *words: str, env: dict[str, str] | None = None) -> Outcome:
    """A program that starts children by itself."""
    Path("program.py").write_text(source)
    return gort("--children", "program.py", *words, env=env)


def without_source(text: str) -> str:
    """From 3.13 on python, unlike gort, has the source lines of -c CODE in its tracebacks."""
    return re.sub(r"^ {4}.*\n", "", text, flags=re.MULTILINE)


# -- a child is like `gort run` of it ----------------------------------------------------------

ENDS = {
    "returns": "print('done')",
    "exits": "sys.exit(7)",
    "exits with a text": "sys.exit('a text')",
    "raises": "def inner():\n    raise ValueError('boom')\ntry:\n    inner()\nfinally:\n    print('finally')",
    "raises from": "try:\n    {}[1]\nexcept KeyError as error:\n    raise OSError('boom') from error",
    "raises a BaseException": "raise GeneratorExit",
    "interrupt": "atexit.register(print, 'atexit')\nraise KeyboardInterrupt",
    "signal": "signal.raise_signal(signal.SIGINT)",
    "panic": "import gort\ngort.go(lambda: {}[1])\ngort.chan().recv()",
    "exit of a goroutine": "import gort\ngort.go(sys.exit, 4)\ngort.chan().recv()",
    "deadlock": "import gort\ngort.chan().recv()",
    "goexit": "import gort.runtime\ngort.runtime.goexit()",
    "syntax": "x = (",
    "raises, with a thread": (
        "atexit.register(print, 'atexit')\nthreading.Timer(0.1, print, ['thread']).start()\nraise ValueError"
    ),
}
IMPORTS = "import atexit, signal, sys, threading\n"


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("way", ["script", "-m", "-c"])
def test_the_end(way: str, end: str) -> None:
    code = IMPORTS + ENDS[end]
    Path("prog.py").write_text(code)
    words = {"script": ["prog.py"], "-m": ["-m", "prog"], "-c": ["-c", code]}[way]
    expected = gort(*words)
    assert expected.status != 1 or end in ("exits with a text", "syntax")
    outcome = child(*words)
    assert (outcome.status, outcome.stdout) == (expected.status, expected.stdout)
    assert without_source(outcome.stderr) == without_source(expected.stderr)


@pytest.mark.parametrize("way", ["folder", "zip", "-", "-m package"])
def test_the_end_of_other_programs(folder: Path, way: str) -> None:
    code = "import sys\nprint(sys.argv[1:], flush=True)\nraise ValueError('boom')\n"
    (folder / "package").mkdir()
    (folder / "package" / "__main__.py").write_text(code)
    with zipfile.ZipFile("program.zip", "w") as archive:
        archive.writestr("__main__.py", code)
    words = {"folder": ["package"], "zip": ["program.zip"], "-": ["-"], "-m package": ["-m", "package"]}[way]
    expected = gort(*words, "x", stdin=code)
    assert expected.status == 2 and "goroutine 1 [running]" in expected.stderr
    child(*words, "x", stdin=code).check(status=2, stdout=expected.stdout, stderr=expected.stderr)


def test_panic_word_for_word() -> None:
    Path("prog.py").write_text("def inner(x):\n    return {}[x]\ninner('missing')\n")
    file = os.path.abspath("prog.py")
    child(file).check(
        status=2,
        stdout="",
        stderr=f"""\
Traceback (most recent call last):
  File "{file}", line 3, in <module>
...
  File "{file}", line 2, in inner
...
KeyError: 'missing'

goroutine 1 [running]:
__main__.inner(...)
	{file}:2
__main__.<module>(...)
	{file}:3
""",
    )


def test_goroutines_and_heap() -> None:
    code = "import gort; print(gort.run(lambda: 6 * 7), gort.runtime.read_mem_stats().heap_alloc > 0)"
    child("-c", code).check(stdout="42 True\n", stderr="")


def test_trace_of_allocations() -> None:
    outcome = child("-m", "gort", "run", "-c", "print(1)", env={"GODEBUG": "allocfreetrace=1"})
    assert (outcome.status, outcome.stdout) == (0, "1\n")
    assert "tracealloc(" in outcome.stderr


# -- hooks -------------------------------------------------------------------------------------

HOOK = """\
import sys
before = sys.excepthook
def hook(kind, exc, trace):
    print("told of", kind.__name__, flush=True)
    PASS_ON
sys.excepthook = hook
raise ValueError("boom")
"""


def test_excepthook_that_calls_the_one_before() -> None:
    Path("prog.py").write_text(HOOK.replace("PASS_ON", "before(kind, exc, trace)"))
    expected = gort("prog.py")
    assert (expected.status, expected.stdout) == (2, "told of ValueError\n")
    child("prog.py").check(status=2, stdout=expected.stdout, stderr=expected.stderr)


def test_excepthook_that_does_not() -> None:
    """The documented difference: it has the last word."""
    Path("prog.py").write_text(HOOK.replace("PASS_ON", "pass"))
    assert gort("prog.py").status == 2
    child("prog.py").check(status=1, stdout="told of ValueError\n", stderr="")


@pytest.mark.parametrize("way", ["script", "-m", "-c", "gort run", "-m gort run"])
def test_a_hook_that_is_called_to_print(way: str) -> None:
    """Whoever calls sys.excepthook and means to go on goes on."""
    code = (
        "import code, sys\n"
        "def show():\n"
        "    try: 1 / 0\n"
        "    except ZeroDivisionError: sys.excepthook(*sys.exc_info())\n"
        "try: raise ValueError('at the top')\n"
        "except ValueError: sys.excepthook(*sys.exc_info())\n"
        "show()\n"
        "code.InteractiveConsole().push('1 / 0')\n"
        "code.InteractiveConsole(globals()).push('1 / 0')\n"
        "print('done')\n"
    )
    Path("prog.py").write_text(code)
    words = {
        "script": ["prog.py"],
        "-m": ["-m", "prog"],
        "-c": ["-c", code],
        "gort run": [GORT, "run", "prog.py"],
        "-m gort run": ["-m", "gort", "run", "prog.py"],
    }[way]
    outcome = child(*words)
    outcome.check(stdout="done\n")
    assert outcome.stderr.count("ZeroDivisionError: division by zero\n") == 3
    assert "goroutine" not in outcome.stderr


def test_a_hook_that_is_called_below_main() -> None:
    """In a greenlet, or where a C program embeds Python, main's first frame is not to be seen."""
    pytest.importorskip("greenlet")
    child(
        "-c",
        "import greenlet, sys\n"
        "def show():\n"
        "    try: exec('1 / 0', {'__name__': 'module'})\n"
        "    except ZeroDivisionError as error:\n"
        "        trace = error.__traceback__\n"
        "        for trace in trace, trace.tb_next:\n"
        "            sys.excepthook(type(error), error.with_traceback(trace), trace)\n"
        "greenlet.greenlet(show).switch()\n"
        "print('done')\n",
    ).check(
        stdout="done\n",
        stderr="Traceback (most recent call last):\n...\nZeroDivisionError: division by zero\n" * 2,
    )


@pytest.mark.parametrize("words", [["-i"], ["-i", "-c", "1 / 0"], ["-m", "code", "-q"]], ids=" ".join)
def test_a_prompt_goes_on(words: list[str]) -> None:
    outcome = child(*words, stdin="1 / 0\nprint('goes', 'on')\n1 / 0\n", env={"TERM": "dumb"})
    assert (outcome.status, "goes on" in outcome.stdout) == (0, True)
    assert outcome.stderr.count("ZeroDivisionError: division by zero\n") == 2 + ("-c" in words)
    assert "goroutine" not in outcome.stderr


def test_inspect_that_the_program_sets() -> None:
    """A prompt would follow if standard input were a terminal."""
    outcome = child("-c", "import os; os.environ['PYTHONINSPECT'] = '1'; raise ValueError('boom')")
    assert outcome.status == 1
    assert outcome.stderr.endswith("ValueError: boom\n")


# -- what a child sees -------------------------------------------------------------------------

SEEN = """\
import os, sys
try: import sitecustomize
except ImportError as error: sitecustomize = error.name
print(sys.path, sys.argv, sys.flags, sitecustomize)
print(sorted(set(sys.modules) - {"gort._children"}))
print(os.environ.get("PYTHONPATH"))
"""


def test_a_child_sees_what_it_sees_with_import_gort() -> None:
    expected = execute([sys.executable, "parent.py", "-c", "import gort\n" + SEEN, "x"])
    outcome = child("-c", "import gort\n" + SEEN, "x")
    outcome.check(stdout=expected.stdout.replace("\nNone\n", f"\n{FOLDER}\n"), stderr="")


def test_the_program_itself_sees_nothing() -> None:
    outcome = gort("--children", "-c", SEEN)
    outcome.check(stdout=gort("-c", SEEN).stdout.replace("\nNone\n", f"\n{FOLDER}\n"), stderr="")


@pytest.mark.parametrize("given", ["", "a", "a:b", ":a:", "/x/gort/_children:a"])
def test_pythonpath(given: str) -> None:
    own = {"PYTHONPATH": given}
    code = "import os, sys; print(repr(os.environ['PYTHONPATH']), 'a' in map(os.path.basename, sys.path))"
    rest = given.removeprefix("/x/gort/_children:")
    path = f"{FOLDER}:{rest}" if rest else FOLDER
    child("-c", code, env=own).check(stdout=f"{path!r} {'a' in rest}\n", stderr="")


def test_grandchildren_and_a_second_gort_run() -> None:
    code = (
        "import os, sys\n"
        "print('gort' in sys.modules, os.environ['PYTHONPATH'], any('_children' in p for p in sys.path))"
    )
    expected = f"True {FOLDER} False\n"
    child("parent.py", "parent.py", "-c", code).check(stdout=expected, stderr="")
    nested = ["-m", "gort", "run", "--children", "parent.py"]
    child(*nested, *nested, "-c", code).check(stdout=expected, stderr="")
    child(*nested[:-2], "parent.py", "-c", code).check(stdout=expected, stderr="")


def test_without_the_option() -> None:
    code = "import os, sys; print('gort' in sys.modules, os.environ.get('PYTHONPATH'))"
    gort("parent.py", "-c", code).check(stdout="False None\n", stderr="")
    gort("parent.py", "--children", "-c", "1").check(status=2)  # It is the program's own.


@pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
def test_what_is_not_reached(flag: str) -> None:
    outcome = child(flag, "-c", REACHED)
    outcome.check(stdout="False\n")
    assert outcome.stderr == ""


def test_environments_without_the_path() -> None:
    program(
        "import os, subprocess, sys\n"
        f"command = [sys.executable, '-c', {REACHED!r}]\n"
        "here, inherited = os.getcwd(), os.environ['PYTHONPATH']\n"
        "subprocess.run(command, env={})\n"
        "subprocess.run(command, env={**os.environ, 'PYTHONPATH': here})\n"
        "subprocess.run(command, env={**os.environ, 'PYTHONPATH': f'{here}:{inherited}'})\n"
    ).check(stdout="False\nFalse\nTrue\n", stderr="")


# -- ways to start a child ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_multiprocessing(method: str) -> None:
    source = (
        "import concurrent.futures, multiprocessing, os, sys\n"
        "STARTED = os.getpid()\n"
        "def work(x):\n"
        "    import gort\n"
        "    return gort.run(lambda: 2 * x), START in sys.modules, any('_children' in p for p in sys.path)\n"
        "def fail(): raise ValueError('boom')\n"
        "START = 'gort._children'\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    with context.Pool(2) as pool: print(pool.map(work, [1, 2]))\n"
        "    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:\n"
        "        print(list(pool.map(work, [3])), type(pool.submit(fail).exception()).__name__)\n"
        "    for target, arguments in (fail, ()), (sys.exit, (5,)):\n"
        "        process = context.Process(target=target, args=arguments)\n"
        "        process.start(); process.join()\n"
        "        print(process.exitcode)\n"
    )
    outcome = program(source)
    outcome.check(
        stdout="[(2, True, False), (4, True, False)]\n[(6, True, False)] ValueError\n1\n5\n",
        stderr="Process ...:\nTraceback (most recent call last):\n...\nValueError: boom\n",
    )


@pytest.mark.parametrize(
    "start",
    [
        "os.execv(sys.executable, [sys.executable, *words])",
        "os.system(shlex.join([sys.executable, *words]))",
        "os.waitpid(os.posix_spawn(sys.executable, [sys.executable, *words], os.environ), 0)",
        "os.spawnv(os.P_WAIT, sys.executable, [sys.executable, *words])",
        "subprocess.run([sys.executable, *words], close_fds=False)",
        "gort.run(subprocess.run, [sys.executable, *words])",
    ],
)
def test_other_ways(start: str) -> None:
    program(f"import gort, os, shlex, subprocess, sys\nwords = ['-c', {REACHED!r}]\n{start}\n").check(
        stdout="True\n", stderr=""
    )


RELOADER = """\
import os, subprocess, sys
if os.environ.get("SERVES"):
    import gort
    count = int(os.environ["SERVES"])
    print("serves", count, gort.run(lambda: sys.argv), "gort._children" in sys.modules, flush=True)
    sys.exit(3 if count < 3 else 0)
count, status = 0, 3
while status == 3:
    count += 1
    status = subprocess.call([sys.executable, *COMMAND], env={**os.environ, "SERVES": str(count)})
sys.exit(status)
"""


@pytest.mark.parametrize("words", [["program.py", "x"], ["-m", "program", "x"]], ids=" ".join)
@pytest.mark.parametrize("command", ["sys.orig_argv[1:]", "sys.argv", "['-m', 'program', *sys.argv[1:]]"])
def test_reloader(words: list[str], command: str) -> None:
    """A process that starts itself again for as long as it ends with status 3."""
    Path("program.py").write_text(RELOADER.replace("*COMMAND", "*" + command))
    file = {"program.py": "program.py"}.get(words[0], os.path.abspath("program.py"))
    file = os.path.abspath("program.py") if "'-m'" in command else file
    gort("--children", *words).check(
        stdout="".join(f"serves {count} ['{file}', 'x'] True\n" for count in (1, 2, 3)), stderr=""
    )


def test_reloader_by_exec() -> None:
    program(
        "import os, sys\n"
        "count = int(sys.argv[1])\n"
        "print(count, 'gort._core' in sys.modules, flush=True)\n"
        "if count: os.execv(sys.executable, [sys.executable, sys.argv[0], str(count - 1)])\n",
        "2",
    ).check(stdout="2 True\n1 True\n0 True\n", stderr="")


# -- the sitecustomize that is hidden ----------------------------------------------------------

HIDDEN = {
    "prints": "print('hidden', flush=True)\nX = 1\n",
    "raises": "raise ValueError('hidden')\n",
    "raises ImportError": "import nothing_like_it\n",
    "is gone": "raise ImportError('gone', name='sitecustomize')\n",
    "syntax": "x = (\n",
    "exits": "import sys; sys.exit(3)\n",
    "hands on": (
        "import os, sys\n"
        "sys.path.remove(os.path.dirname(__file__))\n"
        "del sys.modules['sitecustomize']\n"
        "import sitecustomize\n"
        "print('handed on to', sitecustomize.X, flush=True)\n"
    ),
}
SHOW = """\
import os, sys
try:
    import sitecustomize
    print(sitecustomize.__file__, sitecustomize.__spec__.origin, sitecustomize.__name__)
    print(sorted(name for name in vars(sitecustomize) if not name.startswith("__")))
except Exception as error:
    print(repr(error))
print(sys.path)
"""


@pytest.fixture
def hidden(folder: Path) -> Path:
    for name, source in HIDDEN.items():
        (folder / name).mkdir()
        (folder / name / "sitecustomize.py").write_text(source)
    (folder / "is absent").mkdir()
    return folder


@pytest.mark.parametrize("name", [*HIDDEN, "is absent"])
def test_hidden_sitecustomize(hidden: Path, name: str) -> None:
    path = f"{hidden / name}:{hidden / 'prints'}" if name == "hands on" else str(hidden / name)
    expected = execute([sys.executable, "parent.py", "-c", SHOW], env={"HIDDEN": path})
    outcome = child("-c", SHOW, env={"HIDDEN": path})
    # Its traceback is shown if it exits: an odd thing to do, which ends python at once.
    shown = re.sub(rf'  File "{re.escape(FOLDER)}.*\n(    .*\n)*', "", outcome.stderr)
    shown = shown.replace("\nExtension modules: gort._core (total: 1)\n", "")
    assert name == "exits" or shown == outcome.stderr
    assert (outcome.status, outcome.stdout, shown) == (expected.status, expected.stdout, expected.stderr)


def test_one_that_is_found_first_hands_on_to_ours(hidden: Path) -> None:
    code = (
        "import os, sys\n"
        "path = [sys.argv[1], os.environ['PYTHONPATH'], sys.argv[2]]\n"
        "os.environ['PYTHONPATH'] = ':'.join(path)\n"
    )
    first, last = str(hidden / "hands on"), str(hidden / "prints")
    outcome = program(
        code + f"import subprocess; subprocess.run([sys.executable, '-c', {REACHED!r}])", first, last
    )
    outcome.check(stdout="hidden\nhanded on to 1\nTrue\n", stderr="")


def test_import_of_sitecustomize_without_site(hidden: Path) -> None:
    """The program itself loads it, and gets the hidden one."""
    code = f"import sys; sys.path.append({PACKAGES!r})\n{SHOW}{REACHED}"
    outcome = child("-S", "-c", code, env={"HIDDEN": str(hidden / "prints")})
    outcome.check(stderr="")
    lines = outcome.stdout.splitlines()
    assert (lines[0], lines[2], lines[-1]) == ("hidden", "['X']", "True")
    assert FOLDER not in outcome.stdout


def test_usercustomize(folder: Path) -> None:
    """python of the environment's base, which has a user's site; gort is found by PYTHONPATH."""
    python = os.path.realpath(sys.executable)
    env = {"PYTHONUSERBASE": str(folder), "PYTHON": python, "HIDDEN": PACKAGES}
    place = execute([python, "-m", "site", "--user-site"], env=env).stdout.strip()
    Path(place).mkdir(parents=True)
    (Path(place) / "usercustomize.py").write_text("import sys; print('user', 'gort' in sys.modules)\n")
    if "user" not in execute([python, "-c", ""], env=env).stdout:
        pytest.skip("this Python has no user's site")
    child("-c", "print('program')", env=env).check(stdout="user True\nprogram\n", stderr="")


# -- a Python without gort ---------------------------------------------------------------------


@pytest.fixture
def other(folder: Path) -> str:
    """An environment of this Python that has no packages."""
    config = Path(sys.prefix, "pyvenv.cfg")
    if not config.exists():
        pytest.skip("this Python is not a virtual environment")
    (folder / "other" / "bin").mkdir(parents=True)
    shutil.copy(config, folder / "other")
    (folder / "other" / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    return str(folder / "other" / "bin" / "python")


def says(python: str, why: str) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    return f"gort run --children: {python} ({version}...) runs without gort: {why}\n"


def test_python_without_gort(hidden: Path, other: str) -> None:
    code = SHOW + "print('program')\nsys.exit(5)"
    env = {"PYTHON": other, "HIDDEN": str(hidden / "prints")}
    expected = execute([sys.executable, "parent.py", "-c", code], env=env)
    assert expected.stdout.endswith("program\n")
    child("-c", code, env=env).check(
        status=5, stdout=expected.stdout, stderr=says(other, "No module named 'gort'")
    )


def test_crash_without_gort(other: str) -> None:
    outcome = child("-c", "1 / 0", env={"PYTHON": other})
    assert outcome.status == 1
    assert outcome.stderr.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("from . import _core", "it is not the one for which CWD/lib/gort is built"),
        ("raise ImportError('gort needs\\na better world')", "gort needs"),
        ("1 / 0", "division by zero"),
        ("assert False", "AssertionError"),
        ("import nothing_like_it", "No module named 'nothing_like_it'"),
        ("", "No module named 'gort._children'"),
    ],
)
def test_gort_that_cannot_be_imported(folder: Path, source: str, why: str) -> None:
    (folder / "lib" / "gort").mkdir(parents=True)
    (folder / "lib" / "gort" / "__init__.py").write_text(source)
    outcome = child("-c", "print('program')", env={"HIDDEN": str(folder / "lib")})
    outcome.check(stdout="program\n", stderr=says(sys.executable, why.replace("CWD", str(folder))))


def test_nowhere_to_say_it(other: str) -> None:
    program(
        "import os, shlex, sys\n"
        "command = shlex.join([sys.argv[1], '-c', 'print(1)'])\n"
        "os.system(command + ' 2>&-')\n"
        "os.system(command + ' 2>/dev/full')\n",
        other,
    ).check(stdout="1\n1\n", stderr="")


@pytest.mark.parametrize("installed", [True, False])
def test_subinterpreters(other: str, installed: bool) -> None:
    """They are as before, and say nothing."""
    python = sys.executable if installed else other
    code = (
        "import sys\n"
        "if sys.version_info < (3, 13): import _xxsubinterpreters as interpreters\n"
        "else: import _interpreters as interpreters\n"
        "for _ in range(2):\n"
        "    one = interpreters.create()\n"
        f"    interpreters.run_string(one, {REACHED + '; print(sys.path, flush=True)'!r})\n"
        "    interpreters.destroy(one)\n"
    )
    expected = execute([python, "-c", code])
    assert expected.stdout.startswith("False\n")
    stderr = "" if installed else says(other, "No module named 'gort'")
    child("-c", code, env={"PYTHON": python}).check(stdout=expected.stdout, stderr=stderr)


# -- the command line --------------------------------------------------------------------------


def test_help() -> None:
    outcome = gort("--help")
    outcome.check(stderr="")
    text = " ".join(outcome.stdout.split())
    assert "usage: gort run [-h] [--children] SCRIPT | -m MODULE | -c CODE [ARGUMENTS]" in text
    assert "--children run the Python processes that the program starts under gort, too" in text
    gort("--children", "--help").check(stdout=outcome.stdout, stderr="")


@pytest.mark.parametrize(
    ("words", "stderr"),
    [
        (["--children"], "gort run: give a SCRIPT, -m MODULE or -c CODE\n"),
        (["--children", "-m"], "gort run: -m needs an argument\n"),
        (["--children", "-c"], "gort run: -c needs an argument\n"),
        (["--children", "no.py"], "gort: can't open file '...no.py': [Errno 2] No such file or directory\n"),
        (["--children", "--nothing", "x"], "usage: ...\ngort: error: unrecognized arguments: --nothing\n"),
        (["--children=2", "x"], "...\ngort run: error: argument --children: ignored explicit argument '2'\n"),
        (["--child", "x"], "usage: ...\ngort: error: unrecognized arguments: --child\n"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_wrong_usage(words: list[str], stderr: str) -> None:
    gort(*words).check(status=2, stdout="", stderr=stderr)


@pytest.mark.parametrize("words", [["-c", REACHED], ["-c" + REACHED], ["-mreached"], ["--", "reached.py"]])
def test_program_after_the_option(words: list[str]) -> None:
    Path("reached.py").write_text(REACHED)
    gort("--children", *words).check(stdout="True\n", stderr="")
    execute([sys.executable, "-m", "gort", "run", "--children", *words]).check(stdout="True\n", stderr="")


def test_no_module_is_loaded_for_it() -> None:
    code = "import sys; print(*sorted(sys.modules))"
    loaded = set(gort("--children", "-c", code).stdout.split())
    assert loaded == {*gort("-c", code).stdout.split(), "gort._children"}
    assert environment({}).get("PYTHONPATH") is None
