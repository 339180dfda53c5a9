"""The sdist, a wheel made of it, and what is said where gort cannot be built.

`make dist` makes them for users (tools/dist.py). Here the wheel is built for this Python, in an environment
that has what pyproject.toml requires.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Outcome, execute, load_tool

ROOT = Path(__file__).resolve().parent.parent
HELLO = "tick 1\ntick 2\ntick 3\na blocked call, a busy loop and a ticker: all at once\n"
NO_COMPILER = {"CC": "/nonexistent", "PATH": "/nonexistent"}


def find_pip() -> list[str]:
    """The command that is this environment's pip, or the one that new environments would get."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    spec = importlib.util.find_spec("ensurepip")
    for folder in spec.submodule_search_locations or () if spec else ():
        for wheel in Path(folder).glob("_bundled/pip-*.whl"):
            return [sys.executable, str(wheel / "pip")]
    return []


pytestmark = [
    pytest.mark.skipif(not find_pip(), reason="this Python has neither pip nor ensurepip"),
    pytest.mark.skipif(not shutil.which("git"), reason="needs git"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: sdists are made of what git has"),
    pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="compilers are slow with ASan"),
]


def make_venv(folder: Path) -> Path:
    """A virtual environment with nothing in it, not even pip."""
    execute([sys.executable, "-m", "venv", "--without-pip", str(folder)]).check()
    return folder / "bin" / "python"


def pip(python: Path, *words: str | Path, env: dict[str, str] | None = None) -> Outcome:
    options = ["--disable-pip-version-check", "--retries=1", "--python", str(python)]
    return execute([*find_pip(), *options, *map(str, words)], env=env)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has what a build requires."""
    python = make_venv(tmp_path_factory.mktemp("builder"))
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    installed = pip(python, "install", "--quiet", "build", *needed)
    if installed.status:
        lines = installed.stderr.strip().splitlines() or ["pip failed"]
        pytest.skip(f"no package index: {lines[-1]}")
    return python


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree as a repository in which everything is committed, because sdists are made of commits."""
    folder = tmp_path_factory.mktemp("source")

    def git(*words: str, cwd: Path = folder) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *words], cwd=cwd, check=True, capture_output=True, text=True)
        return done.stdout

    for name in git("ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT).rstrip("\0").split("\0"):
        if (ROOT / name).is_file():  # or it was removed, and that is not committed yet
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    git("init", "--quiet")
    git("add", "--all", "--force")
    git("commit", "--quiet", "--no-verify", "--message=x")
    return folder


@pytest.fixture(scope="module")
def sdist(builder: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    words = ["-m", "build", "--sdist", "--no-isolation", "--outdir", str(out), str(source)]
    path = {"PATH": f"{builder.parent}:{os.environ['PATH']}"}
    execute([str(builder), *words], env=path).check()
    (made,) = out.iterdir()
    return made


def files_of(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and ".git" not in path.relative_to(folder).parts:
            yield path.relative_to(folder).as_posix()


def test_sdist(sdist: Path, source: Path) -> None:
    """It has the source, the tests and what they read, so everything that git has, and nothing big."""
    with tarfile.open(sdist) as archive:
        members = {entry.name.partition("/")[2]: entry.size for entry in archive if entry.isfile()}
    assert set(members) == {"PKG-INFO", *files_of(source)}
    assert max(members.values()) < 200_000
    assert sdist.stat().st_size < 2_000_000


def test_wheel_needs_no_compiler(builder: Path, sdist: Path, tmp_path: Path) -> None:
    """It is built from the sdist, is what users get, and runs in a new environment."""
    path = {"PATH": f"{builder.parent}:{os.environ['PATH']}"}
    # The compiler at its quickest: how fast gort is does not matter here.
    more = ["--config-settings=setup-args=-Doptimization=1", "--wheel-dir", str(tmp_path / "wheel")]
    pip(builder, "wheel", "--no-build-isolation", "--no-deps", "--no-index", *more, sdist, env=path).check()
    (wheel,) = (tmp_path / "wheel").iterdir()
    cp = "cp{}{}".format(*sys.version_info[:2])
    assert re.fullmatch(rf"gort-[\d.]+-{cp}-{cp}-linux_(x86_64|aarch64)\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        (core,) = (name for name in archive.namelist() if name.endswith(".so"))
        extracted = archive.extract(core, tmp_path)
    assert b"_check_heap" not in Path(extracted).read_bytes(), "built with what only the tests call"
    python = make_venv(tmp_path / "venv")
    pip(python, "install", "--no-index", "--no-deps", wheel, env=NO_COMPILER).check()
    hello = str(ROOT / "examples" / "hello.py")
    for command in ([str(python), hello], [str(python.parent / "gort"), "run", hello]):
        outcome = execute(command, env=NO_COMPILER)
        assert (outcome.status, outcome.stdout, outcome.stderr) == (0, HELLO, "")
    where = execute([str(python), "-c", "import gort; print(gort.__file__)"]).stdout
    assert Path(where).is_relative_to(tmp_path)


def test_pythons_of_make_dist() -> None:
    """Those that are named must be supported."""
    tool: Any = load_tool("dist")
    version = "{}.{}".format(*sys.version_info[:2])
    assert tool.find([sys.executable]) == {version: sys.executable}
    with pytest.raises(SystemExit, match=r"dist: /nonexistent does not run; a wheel needs CPython 3\.11 to"):
        tool.find([sys.executable, "/nonexistent"])


# -- where gort cannot be built -----------------------------------------------------------------


def refusal(builder: Path, source: Path, *words: str | Path, env: dict[str, str]) -> str:
    """What `meson setup` says at its end, after a place in meson.build."""
    command = [str(builder.parent / "meson"), "setup", *map(str, words), str(source)]
    outcome = execute(command, env=env)
    assert outcome.status == 1, outcome
    (said,) = re.findall(r"^(.*ERROR.*)$", outcome.stdout + outcome.stderr, re.MULTILINE)
    place, _, sentence = str(said).partition(": ERROR: Problem encountered: ")
    assert re.fullmatch(r".*meson\.build:\d+:\d+", place), said
    return sentence


MACHINE = """
[host_machine]
system = '{}'
cpu_family = '{}'
cpu = '{}'
endian = 'little'
"""


@pytest.mark.parametrize(
    ("system", "cpu", "sentence"),
    [
        ("darwin", "aarch64", "gort builds on Linux only; this machine runs darwin"),
        ("windows", "x86_64", "gort builds on Linux only; this machine runs windows"),
        ("linux", "riscv64", "gort builds on x86-64 and aarch64 only; this machine is riscv64"),
        ("linux", "x86", "gort builds on x86-64 and aarch64 only; this machine is x86"),
    ],
)
def test_other_machine(
    builder: Path, source: Path, tmp_path: Path, system: str, cpu: str, sentence: str
) -> None:
    machine = tmp_path / "machine.ini"
    machine.write_text(MACHINE.format(system, cpu, cpu))
    words = ("--cross-file", machine, tmp_path / "build")
    assert refusal(builder, source, *words, env=NO_COMPILER) == sentence


@pytest.mark.parametrize(
    ("pretence", "sentence"),
    [
        (
            "sys.implementation.name = 'pypy'; sys.version_info = (3, 11, 9, 'final', 0)",
            "gort supports CPython only; this Python is pypy 3.11.9",
        ),
        (
            "sys.version_info = (3, 10, 13, 'final', 0)",
            "gort supports CPython 3.11 to 3.15; this is 3.10.13",
        ),
        (
            "sys.version_info = (3, 14, 0, 'final', 0)",
            "gort supports CPython 3.14 from 3.14.5 on; this is 3.14.0",
        ),
        (
            "sys.version_info = (3, 14, 4, 'final', 0)",
            "gort supports CPython 3.14 from 3.14.5 on; this is 3.14.4",
        ),
        (
            "sys.version_info = (3, 16, 0, 'alpha', 1)",
            "gort supports CPython 3.11 to 3.15; this is 3.16.0",
        ),
        (
            "sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1",
            "gort supports builds of CPython with the GIL; this one is free-threaded",
        ),
        ("sys.maxsize = 2**31 - 1", "gort supports 64-bit builds of CPython only; this one has 32 bits"),
    ],
)
def test_other_python(builder: Path, source: Path, tmp_path: Path, pretence: str, sentence: str) -> None:
    """A Python that pretends as soon as it has started."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys, sysconfig\n{pretence}\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    machine = tmp_path / "machine.ini"
    machine.write_text(f"[binaries]\npython = '{python}'\n")
    words = ("--native-file", machine, tmp_path / "build")
    assert refusal(builder, source, *words, env={"CC": "/nonexistent"}) == sentence


def test_other_libc(builder: Path, source: Path, tmp_path: Path) -> None:
    """A compiler whose features.h is not glibc's, as with musl."""
    (tmp_path / "features.h").touch()
    compiler = tmp_path / "cc"
    compiler.write_text(
        "#!/bin/sh\n"
        '[ "$1" = -dumpmachine ] && { echo x86_64-alpine-linux-musl; exit; }\n'
        f'exec {shutil.which("cc") or shutil.which("gcc")} -I{tmp_path} "$@"\n'
    )
    compiler.chmod(0o755)
    said = refusal(builder, source, tmp_path / "build", env={"CC": str(compiler)})
    assert said == "gort builds with glibc only; this compiler is for x86_64-alpine-linux-musl"
