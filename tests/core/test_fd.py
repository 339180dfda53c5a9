"""What the runtime prints: os/fd.c, which needs no runtime and is compiled by itself here."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "src" / "_core"
LONGEST = 640


@pytest.fixture(scope="module")
def lib(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    target = tmp_path_factory.mktemp("fd") / "fd.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "no C compiler on PATH, and the tests need one"
    command = [compiler, "-std=gnu11", "-Wall", "-Werror", "-O1", "-g", f"-I{CORE}"]
    subprocess.run([*command, "-shared", "-fPIC", "-o", target, CORE / "os" / "fd.c"], check=True)
    return ctypes.CDLL(str(target))


@pytest.fixture
def printed(lib: ctypes.CDLL) -> Iterator[Callable[..., list[bytes]]]:
    """What err_printf writes to errfd, write by write."""
    read, write = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)

    def call(*args: object) -> list[bytes]:
        ctypes.c_int.in_dll(lib, "errfd").value = write
        lib.err_printf(*args)
        writes = []
        while True:
            try:
                writes.append(os.read(read, 1 << 16))
            except BlockingIOError:
                return writes

    yield call
    os.close(read)
    os.close(write)


def test_one_write(printed: Callable[..., list[bytes]]) -> None:
    assert printed(b"gc %d: %s\nsecond line\n", 7, b"text") == [b"gc 7: text\nsecond line\n"]
    assert printed(b"") == []


def test_what_does_not_fit_is_cut(printed: Callable[..., list[bytes]]) -> None:
    for n in range(LONGEST - 5, LONGEST + 5):
        whole = b"x" * n + b"\n"
        cut = whole if len(whole) < LONGEST else b"x" * (LONGEST - 1) + b"\n"
        assert printed(b"%s\n", b"x" * n) == [cut]
    assert printed(b"%s\n", b"x" * 100_000) == [b"x" * (LONGEST - 1) + b"\n"]
