"""Compares src/gort/_core.pyi with a built core: .venv-lint/bin/python tools/check_stub.py .venv/bin/python

stubtest does that, of the Python that runs this; the other Python has gort installed, and is of the same
version. A stub with the faults of PLANTED is compared as well, and stubtest must report each of them.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STUB = ROOT / "src" / "gort" / "_core.pyi"
ALLOWED = ROOT / "tools" / "stubtest.txt"

# What is in the stub, what takes its place, and the name that is then reported: an argument too many, a
# function that the core lacks, a method that the stub lacks.
PLANTED = (
    ("def goid() ->", "def goid(planted: int) ->", "gort._core.goid"),
    ("def gosched()", "def planted() -> None: ...\ndef gosched()", "gort._core.planted"),
    ("    def unlock(self) -> None: ...\n", "", "gort._core.Mutex.unlock"),
)

# By these, mypy colours what it writes to a pipe.
COLOURS = {"FORCE_COLOR", "MYPY_FORCE_COLOR"}


def platlib(python: str) -> str:
    """Where this Python has its extension modules."""
    code = "import sysconfig; print(sysconfig.get_path('platlib'))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def stubtest(stub: str, installed: str) -> tuple[int, str]:
    """The status and the output of stubtest for a package that has this _core.pyi and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "gort")
        package.mkdir()
        (package / "__init__.pyi").touch()
        (package / STUB.name).write_text(stub)
        command = [sys.executable, "-P", "-m", "mypy.stubtest", "gort._core", "--allowlist", str(ALLOWED)]
        # Coloured, a report has escape sequences between its words.
        plain = {name: value for name, value in os.environ.items() if name not in COLOURS}
        env = {**plain, "PYTHONPATH": installed, "MYPYPATH": folder}
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def main(python: str) -> int:
    installed = platlib(python)
    text = wrong = STUB.read_text()
    for there, planted, _ in PLANTED:
        if there not in wrong:
            print(f"check_stub: PLANTED has {there!r}, which is not in the stub")
            return 1
        wrong = wrong.replace(there, planted, 1)
    with ThreadPoolExecutor() as pool:
        (status, output), (refused, report) = pool.map(lambda stub: stubtest(stub, installed), (text, wrong))
    print(output, end="")
    missed = [name for _, _, name in PLANTED if f"error: {name} " not in report]
    if missed or not refused:
        print(f"check_stub: stubtest accepts a stub that is wrong (missed: {', '.join(missed)}):\n{report}")
    return 1 if status or missed or not refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
