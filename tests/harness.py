"""Runs programs in processes of their own and compares what they print.

Two kinds of tests are made of it.

*Program tests* are pairs of files in tests/programs: `NAME.py` is the program, `NAME.out` what it prints. The
program's header says how to run it, one directive a line, anywhere before the first line of code:

    #: env NAME=VALUE ...     variables, beside an environment that holds none of Go's or Python's
    #: argv WORD ...          the program's arguments
    #: flags WORD ...         the interpreter's options
    #: exit 2                 expected exit status, or the name of the signal that ends it; default 0.
    #: exit python=1 gort=2   the same where it depends on the runner
    #: runner both            `python` (python NAME.py), `gort` (gort run NAME.py) or `both`, the default
    #: python >=3.12 <3.14    versions of Python it is meant for
    #: stdin TEXT             a line of standard input; may be repeated
    #: send SIGINT READY      a signal to send shortly after the word READY was printed; may be repeated
    #: timeout 10             seconds until it counts as hung; default 120

NAME.out has a section for each stream; one that is missing stands for "prints nothing". A section may be for
a runner or for some versions only, and the first one that fits is used:

    -- stdout --
    -- stderr [gort] --
    -- stderr [>=3.12] --

In the text, `...` alone on a line matches any number of lines, `...` within a line any characters, and
`{{RE}}` what the regular expression RE matches. Everything else is literal.

*Isolated tests* are ordinary test functions whose body runs in a new process: see `isolated`.

Tests that need what only the tests call are skipped if the core was built without that: see `lacking`.

tests/clib.c is compiled once for the session; the environment variable CLIB of every program is its path.
"""

from __future__ import annotations

import ast
import atexit
import functools
import importlib.util
import inspect
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
RUNNERS = ("python", "gort")
DEFAULT_TIMEOUT = 120.0
# Between the word that asks for a signal and the signal: time for the program to park where it means to.
SETTLE = 0.2
# Variables that change what programs do or print begin with these.
FOREIGN = ("GO", "PYTHON", "PYTEST", "PY_COLORS", "FORCE_COLOR", "NO_COLOR", "COV", "COLUMNS", "LINES")

_F = TypeVar("_F", bound=Callable[..., Any])


# -- comparing --------------------------------------------------------------------------------


@functools.cache
def _pattern(line: str) -> re.Pattern[str]:
    pieces = re.split(r"(\.\.\.|\{\{.*?\}\})", line)
    return re.compile(
        "".join(
            ".*" if piece == "..." else f"(?:{piece[2:-2]})" if piece.startswith("{{") else re.escape(piece)
            for piece in pieces
        )
    )


def compare(expected: str, actual: str) -> list[str]:
    """The difference between an expected text and an actual one, as lines to print; [] if they agree.

    Lines that agree start with two blanks, missing ones with `- `, unexpected ones with `+ `. The alignment
    is the one with the fewest edits, so that one wrong line does not blame all that follow it.
    """
    want, got = expected.splitlines(), actual.splitlines()
    wild = [line.strip() == "..." for line in want]
    # cost[i][j] is the number of edits that want[i:] needs to describe got[j:].
    cost = [[0] * (len(got) + 1) for _ in range(len(want) + 1)]
    cost[-1] = [len(got) - j for j in range(len(got) + 1)]
    for i in reversed(range(len(want))):
        row, below = cost[i], cost[i + 1]
        row[-1] = below[-1] + (not wild[i])
        for j in reversed(range(len(got))):
            if wild[i]:
                row[j] = min(below[j], row[j + 1])
            elif _pattern(want[i]).fullmatch(got[j]):
                row[j] = below[j + 1]
            else:
                row[j] = 1 + min(below[j], row[j + 1])
    if cost[0][0] == 0:
        return []

    lines: list[str] = []
    i = j = 0
    while i < len(want) or j < len(got):
        if i < len(want) and wild[i]:
            skipped = 0
            while j < len(got) and cost[i][j] != cost[i + 1][j]:
                skipped, j = skipped + 1, j + 1
            lines.append(f"  ...  ({skipped} lines)")
            i += 1
        elif i < len(want) and j < len(got) and _pattern(want[i]).fullmatch(got[j]):
            lines.append("  " + got[j])
            i, j = i + 1, j + 1
        elif i < len(want) and cost[i][j] == 1 + cost[i + 1][j]:
            lines.append("- " + want[i])
            i += 1
        else:
            lines.append("+ " + got[j])
            j += 1
    return lines


# -- running ----------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What became of a program."""

    command: list[str]
    status: int  # exit status; minus the signal's number if one ended it
    stdout: str
    stderr: str
    hung: bool  # it was stopped by the time limit

    def check(self, *, status: int | str = 0, stdout: str | None = None, stderr: str | None = None) -> None:
        """Raises AssertionError with a readable report unless the outcome is as given. None: any text."""
        faults: list[str] = []
        if self.hung:
            faults.append("hung, and was stopped; its standard error holds what SIGQUIT made it say")
        elif self.status != parse_status(str(status)):
            faults.append(f"ended with {describe_status(self.status)}, expected {status}")
        streams = (("stdout", stdout, self.stdout), ("stderr", stderr, self.stderr))
        differences = {name: compare(want, got) for name, want, got in streams if want is not None}
        if not faults and not any(differences.values()):
            return
        for name, _, got in streams:
            if lines := differences.get(name):
                faults.append("\n".join([f"{name} differs (- expected, + actual):", *lines]))
            elif got:
                faults.append(f"{name} was:\n{got.rstrip()}")
        raise AssertionError("\n\n".join([shlex.join(self.command), *faults]))


def parse_status(text: str) -> int:
    """'2' -> 2, 'SIGABRT' -> -6."""
    return -signal.Signals[text].value if text.startswith("SIG") else int(text)


def describe_status(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


@functools.cache
def clib(name: str = "clib") -> str:
    """The path of the shared library made of clib.c, or of another file here."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("no C compiler on PATH, and the tests need one")
    folder = tempfile.mkdtemp(prefix="gort-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = os.path.join(folder, f"{name}.so")
    source = str(HERE / f"{name}.c")
    subprocess.run([compiler, "-O1", "-g", "-shared", "-fPIC", "-pthread", "-o", library, source], check=True)
    return library


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would change a program's behaviour, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, "CLIB": clib(), **extra}


def command(runner: str, flags: Sequence[str] = ()) -> list[str]:
    """The start of the command line that runs a script."""
    python = [sys.executable, *flags]
    if runner == "python":
        return python
    return [*python, os.path.join(sysconfig.get_path("scripts"), "gort"), "run"]


def execute(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    send: Sequence[tuple[int, str]] = (),
    timeout: float = DEFAULT_TIMEOUT,
) -> Outcome:
    """Runs a command to its end, or to the time limit.

    send: pairs of a signal and a word; the signal is sent a moment after the word was printed.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(env or {}),
        process_group=0,
    )
    assert process.stdin and process.stdout and process.stderr
    text = {"stdout": bytearray(), "stderr": bytearray()}
    hung = False
    try:
        try:
            process.stdin.write(stdin.encode())
            process.stdin.close()
        except BrokenPipeError:
            pass
        deadline = time.monotonic() + timeout
        pending = list(send)
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ, "stdout")
            ready.register(process.stderr, selectors.EVENT_READ, "stderr")
            while ready.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    # The first time limit asks for the goroutines' stacks, the second does not ask.
                    _kill(process.pid, signal.SIGKILL if hung else signal.SIGQUIT)
                    hung, deadline = True, time.monotonic() + 5
                    continue
                for key, _ in ready.select(left):
                    chunk = os.read(key.fd, 1 << 16)
                    if not chunk:
                        ready.unregister(key.fileobj)
                    text[key.data] += chunk
                while pending and pending[0][1].encode() in text["stdout"]:
                    _settle(process.pid)
                    _kill(process.pid, pending.pop(0)[0], group=False)
        try:
            process.wait(max(0.0, deadline - time.monotonic()) + 5)
        except subprocess.TimeoutExpired:
            hung = True
    finally:  # of a test that was given up, too
        # What the program left running would hold the machine; its group has no other members.
        _kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()
    out, err = (bytes(text[name]).decode(errors="backslashreplace") for name in ("stdout", "stderr"))
    return Outcome(list(argv), process.returncode, out, err, hung)


def _settle(pid: int) -> None:
    """SETTLE, and on a busy machine until all its threads sleep, or it has computed for that long."""
    time.sleep(SETTLE)
    end, first, asleep = time.monotonic() + 10, None, 0
    while asleep < 3 and time.monotonic() < end:
        try:
            stats = [
                path.read_text().rpartition(") ")[2].split()
                for path in Path(f"/proc/{pid}/task").glob("*/stat")
            ]
        except OSError:
            continue  # a thread has ended
        used = sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")
        first = used if first is None else first
        if used - first >= SETTLE:
            return
        asleep = asleep + 1 if all(stat[0] == "S" for stat in stats) else 0
        time.sleep(0.01)


def _kill(pid: int, number: int, *, group: bool = True) -> None:
    try:
        (os.killpg if group else os.kill)(pid, number)
    except ProcessLookupError:
        pass


def run_source(
    source: str,
    *argv: str,
    runner: str = "python",
    flags: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    send: Sequence[tuple[int, str]] = (),
    timeout: float = DEFAULT_TIMEOUT,
) -> Outcome:
    """Runs the text of a program."""
    with tempfile.TemporaryDirectory(prefix="gort-tests-") as folder:
        script = os.path.join(folder, "prog.py")
        Path(script).write_text(inspect.cleandoc(source) + "\n")
        return execute(
            [*command(runner, flags), script, *argv], env=env, stdin=stdin, send=send, timeout=timeout
        )


# -- program tests ----------------------------------------------------------------------------


@dataclass
class Program:
    """A program of tests/programs with its directives."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)
    argv: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    status: dict[str, str] = field(default_factory=dict)
    runners: tuple[str, ...] = RUNNERS
    versions: str = ""
    stdin: str = ""
    send: list[tuple[int, str]] = field(default_factory=list)
    timeout: float = DEFAULT_TIMEOUT

    @classmethod
    def load(cls, path: Path) -> Program:
        program = cls(path)
        for line in path.read_text().splitlines():
            if line.startswith("#: "):
                name, _, rest = line[3:].partition(" ")
                try:
                    program._directive(name, rest.strip())
                except (KeyError, ValueError) as error:
                    raise ValueError(f"{path.name}: bad directive {line!r}: {error}") from None
        return program

    def _directive(self, name: str, rest: str) -> None:
        words = shlex.split(rest) if name != "stdin" else []
        match name:
            case "env":
                self.env.update(dict(word.split("=", 1) for word in words))
            case "argv":
                self.argv += words
            case "flags":
                self.flags += words
            case "exit":
                pairs = [word.split("=") if "=" in word else ["", word] for word in words]
                self.status.update({runner: status for runner, status in pairs if [parse_status(status)]})
            case "runner":
                self.runners = {"both": RUNNERS, "python": ("python",), "gort": ("gort",)}[rest]
            case "python":
                version_fits(rest)
                self.versions = rest
            case "stdin":
                self.stdin += rest + "\n"
            case "send":
                self.send.append((signal.Signals[words[0]].value, words[1]))
            case "timeout":
                self.timeout = float(rest)
            case _:
                raise ValueError("unknown name")

    def check(self, runner: str) -> None:
        """Runs the program and raises AssertionError unless it did what its .out file says."""
        outcome = execute(
            [*command(runner, self.flags), str(self.path), *self.argv],
            env=self.env,
            stdin=self.stdin,
            send=self.send,
            timeout=self.timeout,
        )
        sections = read_sections(self.path.with_suffix(".out").read_text(), runner)
        status = self.status.get(runner, self.status.get("", "0"))
        outcome.check(status=status, stdout=sections.get("stdout", ""), stderr=sections.get("stderr", ""))


_SECTION = re.compile(r"^-- (stdout|stderr)(?: \[([^\]]*)\])? --$")


def read_sections(text: str, runner: str) -> dict[str, str]:
    """The sections of a .out file that hold for a runner and this Python."""
    sections: dict[str, str] = {}
    name: str | None = None
    started = False
    for line in text.splitlines(keepends=True):
        if header := _SECTION.match(line.rstrip()):
            condition = header[2] or ""
            fits = condition == runner if condition in RUNNERS else version_fits(condition)
            name = header[1] if fits and header[1] not in sections else None
            started = True
            if name is not None:
                sections[name] = ""
        elif name is not None:
            sections[name] += line
        elif not started and line.strip():
            raise ValueError(f"text before the first section: {line!r}")
    return sections


def version_fits(condition: str) -> bool:
    """Whether this Python's version meets a condition such as `>=3.12 <3.14`; an empty one is always met."""
    for term in condition.split():
        found = re.fullmatch(r"(>=|<|==)(\d+)\.(\d+)", term)
        if not found:
            raise ValueError(f"{term!r} is not a condition on the version: give >=X.Y, <X.Y or ==X.Y")
        wanted, version = (int(found[2]), int(found[3])), sys.version_info[:2]
        if not {">=": version >= wanted, "<": version < wanted, "==": version == wanted}[found[1]]:
            return False
    return True


def programs() -> Iterator[Program]:
    """Every program of tests/programs: a .py file with a .out file, either of which calls for the other."""
    names = {path.stem for pattern in ("*.py", "*.out") for path in PROGRAMS.glob(pattern)}
    for name in sorted(names):
        if not name.startswith(("test_", "conftest", "_")):
            yield Program.load(PROGRAMS / f"{name}.py")


# -- what the installed core lacks ------------------------------------------------------------


@functools.cache
def not_built() -> frozenset[str]:
    """The underscore names of _core.pyi that the installed core lacks: meson's option `tests` was off."""
    from gort import _core

    stub = ast.parse((HERE.parent / "src" / "gort" / "_core.pyi").read_text())
    names = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    names |= {ast.unparse(node.target) for node in stub.body if isinstance(node, ast.AnnAssign)}
    return frozenset(name for name in names if name.startswith("_") and not hasattr(_core, name))


def lacking(function: Callable[..., Any], arguments: object = ()) -> set[str]:
    """Which of not_built() a test needs: in its code, what that calls in its module, texts and programs."""
    missing = not_built()
    found: set[str] = set()
    seen: set[object] = set()
    folder = Path(inspect.getfile(inspect.unwrap(function))).parent

    def look(thing: object) -> None:
        if isinstance(thing, str):
            found.update(missing.intersection(re.findall(r"\w+", thing)))
            if thing.endswith(".py") and (folder / thing).is_file():
                look((folder / thing).read_text())
        elif isinstance(thing, Program):
            look(thing.path.read_text())
        elif isinstance(thing, tuple | list):
            for one in thing:
                look(one)
        elif isinstance(thing, Mapping):
            look(list(thing.values()))
        elif inspect.iscode(thing):
            found.update(missing.intersection(thing.co_names))
            look(thing.co_consts)
        elif inspect.isfunction(thing) and (own := inspect.unwrap(thing)) not in seen:
            seen.add(own)
            look(own.__code__)
            for name in names_in(own.__code__):
                known = own.__globals__.get(name)
                if not inspect.isfunction(known) or known.__module__ == own.__module__:
                    look(known)

    if missing:
        look(function)
        look(arguments)
    return found


def names_in(code: CodeType) -> set[str]:
    """The names that a code object and those within it refer to."""
    inner = [names_in(one) for one in code.co_consts if inspect.iscode(one)]
    return set(code.co_names).union(*inner)


# -- isolated tests ---------------------------------------------------------------------------


def isolated(
    *,
    status: int | str = 0,
    stdout: str = "",
    stderr: str | None = "",
    env: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
    stdin: str = "",
    send: Sequence[tuple[int, str]] = (),
    timeout: float = DEFAULT_TIMEOUT,
    runner: str = "python",
) -> Callable[[_F], _F]:
    """Makes a test function's body run as the main program of a new process.

    The process must end with `status` and print what `stdout` and `stderr` describe (None: anything), which
    by default is nothing. The function's parameters must be literals: numbers, strings, tuples and the like.
    """

    def decorate(function: _F) -> _F:
        @functools.wraps(function)
        def test(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            outcome = isolate(
                function,
                *args,
                runner=runner,
                flags=flags,
                env=env,
                stdin=stdin,
                send=send,
                timeout=timeout,
                **kwargs,
            )
            outcome.check(status=status, stdout=inspect.cleandoc(stdout), stderr=stderr)

        return test  # type: ignore[return-value]

    return decorate


def isolate(
    function: Callable[..., Any],
    *args: Any,
    runner: str = "python",
    flags: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    send: Sequence[tuple[int, str]] = (),
    timeout: float = DEFAULT_TIMEOUT,
    **kwargs: Any,
) -> Outcome:
    """Calls a function of a test module, with literals as arguments, as the main program of a new process."""
    argv = [__file__, inspect.getfile(function), function.__name__, repr((args, kwargs))]
    return execute([*command(runner, flags), *argv], env=env, stdin=stdin, send=send, timeout=timeout)


def load_tool(name: str) -> ModuleType:
    """tools/NAME.py as a module of the test's own, which may change it."""
    spec = importlib.util.spec_from_file_location(name, HERE.parent / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run_isolated(path: str, name: str, arguments: str) -> None:
    sys.path.insert(0, str(HERE))
    spec = importlib.util.spec_from_file_location("isolated", path)
    assert spec is not None and spec.loader is not None
    # In sys.modules, so that what the test defines can be pickled.
    module = sys.modules["isolated"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    args, kwargs = ast.literal_eval(arguments)
    inspect.unwrap(getattr(module, name))(*args, **kwargs)


if __name__ == "__main__":
    _run_isolated(*sys.argv[1:])
