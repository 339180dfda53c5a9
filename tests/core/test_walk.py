"""What the walker of stacks is made of: looking at memory that may not be there, and lines of code objects.

Care is 0 (pointers are followed), 1 (system calls copy) or 2 (faults are caught).
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import platform
import signal
import struct
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from gort import _core, go
from gort.sync import WaitGroup
from harness import isolated

PAGE = 4096
VM_READV = {"x86_64": 310, "aarch64": 270}[platform.machine()]


def forbid(nr: int, error: int) -> None:
    """The kernel answers this system call with an error from now on, as in a sandbox."""
    libc = ctypes.CDLL(None, use_errno=True)
    rules = [(0x20, 0, 0, 0), (0x15, 0, 1, nr), (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7FFF0000)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(program)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, fprog, 0, 0) == 0, os.strerror(ctypes.get_errno())  # PR_SET_SECCOMP


def two_pages() -> int:
    """The address of a page that can be read, with one behind it that cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    prot, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    at = libc.mmap(None, 2 * PAGE, prot, flags, -1, 0)
    assert at != ctypes.c_void_p(-1).value
    ctypes.memmove(at, bytes(range(256)) * 16, PAGE)
    assert libc.munmap(ctypes.c_void_p(at + PAGE), ctypes.c_size_t(PAGE)) == 0
    return int(at)


def look_around(care: int) -> None:
    page, text = two_pages(), bytes(range(256)) * 16
    assert _core._walk_read(page, PAGE, care) == text
    assert _core._walk_read(page + 13, 300, care) == text[13:313]
    assert _core._walk_read(page + PAGE - 8, 8, care) == text[-8:]
    bad = [(page + PAGE - 8, 9), (page + PAGE, 1), (page, 2 * PAGE), (8, 8), (2**47 - 8, 8), (2**63, 8)]
    for at, n in bad:
        assert _core._walk_read(at, n, care) is None, (hex(at), n)
    big = ctypes.create_string_buffer(text * 5)
    assert _core._walk_read(ctypes.addressof(big), 5 * PAGE, care) == text * 5


@pytest.mark.parametrize("care", [1, 2])
@isolated(stdout="ok")
def test_memory_that_is_not_there(care: int) -> None:
    def looks() -> None:
        for _ in range(50):
            look_around(care)
        wg.done()

    wg = WaitGroup()
    wg.add(3)
    for _ in range(3):
        go(looks)
    wg.wait()
    thread = threading.Thread(target=look_around, args=(care,))
    thread.start()
    thread.join()
    if os.fork() == 0:
        look_around(care)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    print("ok")


@pytest.mark.parametrize("error", [1, 13, 38])  # EPERM, EACCES, ENOSYS
@isolated(stdout="ok")
def test_in_a_sandbox(error: int) -> None:
    """Where process_vm_readv is forbidden, a bad address is still no fault, and no descriptor is left."""
    forbid(VM_READV, error)
    before = os.listdir("/proc/self/fd")
    look_around(1)
    look_around(2)
    assert _core._walk_time(1, 1)[0] == _core._walk_time(1, 0)[0] == _core._walk_time(1, 2)[0] > 0
    assert os.listdir("/proc/self/fd") == before
    if os.fork() == 0:
        look_around(1)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    print("ok")


@isolated(stdout="ok")
def test_faults_are_caught_by_our_handler_only() -> None:
    def is_caught() -> bool:
        try:
            _core._walk_time(1, 2)
        except RuntimeError:
            return False
        return True

    for sig in (signal.SIGSEGV, signal.SIGBUS):
        assert is_caught()
        signal.pthread_sigmask(signal.SIG_BLOCK, [sig])
        assert not is_caught(), sig
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [sig])
    assert is_caught()
    faulthandler.enable()
    assert not is_caught()
    faulthandler.disable()
    assert is_caught()
    signal.signal(signal.SIGSEGV, lambda *_: None)
    assert not is_caught()
    look_around(1)
    print("ok")


def code_objects(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from code_objects(const)


@isolated(stdout="ok")  # pytest's faulthandler has the faults here
def test_lines() -> None:
    """The table of lines, read with care, says what CPython says."""
    n = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-d]*.py")):
        for code in code_objects(compile(path.read_bytes(), path, "exec")):
            for start, end, line in code.co_lines():
                for lasti in {start, end - 2}:
                    n += 1
                    for care in (1, 2) if n % 100 == 0 else (2,):
                        told = _core._walk_line(code, lasti, care)
                        assert told == (-1 if line is None else line), (code, lasti)
            for lasti in (len(code.co_code), len(code.co_code) + 2000):
                assert _core._walk_line(code, lasti, 2) == -1
    assert n > 10000
    print("ok")


@isolated(stdout="ok")
def test_lines_of_odd_code() -> None:
    def lines(source: str) -> None:
        code = compile(source, "odd.py", "exec")
        for start, end, line in code.co_lines():
            for lasti in range(start, end, 2):
                for care in (1, 2) if lasti % 100 == 0 else (2,):
                    assert _core._walk_line(code, lasti, care) == (-1 if line is None else line)

    lines("")
    lines("\n" * 100000 + "f(\n" + "\n" * 70000 + "g(1,\n\n\n2), 3)\nf()")
    lines("x = (" + " " * 1000 + "1 +" + " " * 1000 + "y)\n")
    lines("x = [\n" + "f(1), \n" * 600 + "]")
    here = compile("f()\ng()", "odd.py", "exec")
    for table in (b"", b"\x00" * 64, b"\xff", b"\xf0\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f", bytes(range(256)) * 3):
        for lasti in range(0, 64, 2):
            line = _core._walk_line(here.replace(co_linetable=table), lasti, 2)
            assert isinstance(line, int)
    print("ok")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring")
@isolated(stdout="ok")
def test_lines_under_monitoring() -> None:
    def traced() -> int:
        x = 1

        return x

    monitoring = sys.monitoring  # type: ignore[attr-defined]
    monitoring.use_tool_id(3, "test")
    try:
        monitoring.register_callback(3, monitoring.events.LINE, lambda *_: None)
        monitoring.set_local_events(3, traced.__code__, monitoring.events.LINE)
        traced()
        for start, _, line in traced.__code__.co_lines():
            assert _core._walk_line(traced.__code__, start, 2) == (-1 if line is None else line)
    finally:
        monitoring.set_local_events(3, traced.__code__, 0)
        monitoring.free_tool_id(3)
    print("ok")


@isolated(stdout="ok")
def test_a_walk_costs_no_system_call_a_frame() -> None:
    """Where faults are caught a frame costs far less than a system call, and both see the same frames."""

    def deep(n: int) -> None:
        if n:
            return deep(n - 1)
        (few, caught), (same, asked) = _core._walk_time(1, 2), _core._walk_time(1, 1)
        assert few == same > 200
        caught, asked = (min(_core._walk_time(20, care)[1] for _ in range(25)) for care in (2, 1))
        assert 3 * caught < asked, (caught, asked)

    deep(200)
    print("ok")


@isolated(stdout="ok")
def test_pcs() -> None:
    """A code object's PC is told only by its own func, whatever else its slots hold."""

    def fresh() -> CodeType:
        return next(c for c in compile("def f(): pass", "f.py", "exec").co_consts if isinstance(c, CodeType))

    api, public = ctypes.pythonapi, sys.version_info >= (3, 12)
    set_extra = api["PyUnstable_Code_SetExtra" if public else "_PyCode_SetExtra"]
    get_extra = api["PyUnstable_Code_GetExtra" if public else "_PyCode_GetExtra"]
    request = api["PyUnstable_Eval_RequestCodeExtraIndex" if public else "_PyEval_RequestCodeExtraIndex"]
    set_extra.argtypes = [ctypes.py_object, ctypes.c_ssize_t, ctypes.c_void_p]
    get_extra.argtypes = [ctypes.py_object, ctypes.c_ssize_t, ctypes.c_void_p]
    request.argtypes = [ctypes.c_void_p]

    def extra(code: CodeType) -> int:
        value = ctypes.c_void_p()
        assert get_extra(code, ours, ctypes.byref(value)) == 0
        return value.value or 0

    code, other = fresh(), fresh()
    entry = _core._entry_of(code)
    ours = next(i for i in range(255) if set_extra(other, i, None) == 0)
    assert extra(code)
    for care in (1, 2):
        assert _core._walk_pc(code, 4, care) == entry + 6
        assert _core._walk_pc(code, -2, care) == _core._walk_pc(code, 1 << 20, care) == 0
        assert _core._walk_pc(other, 0, care) == 0
    # The slots move.
    last = max(request(None) for _ in range(60))
    assert set_extra(code, last, 0x1234567) == 0
    kept = []
    for care in (1, 2):
        assert _core._walk_pc(code, 4, care) == entry + 6
        for junk in (8, 0x1234567, 2**47 - 16, 2**63, id(code), extra(code), two_pages() + PAGE - 8):
            kept.append(fresh())
            assert set_extra(kept[-1], ours, junk) == 0
            assert _core._walk_pc(kept[-1], 4, care) == 0, hex(junk)
    print("ok", flush=True)
    os._exit(0)  # Those code objects must not die.
