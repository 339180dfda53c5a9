"""Packages gort.runtime and gort.runtime.debug: names, Go's spelling, and figures of this process."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import pytest

import gort
from gort import chan, go, runtime
from gort._spelling import snake_case
from gort.runtime import debug
from harness import execute, isolated, run_source

# -- figures ----------------------------------------------------------------------------------


def test_num_cpu_is_the_affinity_at_start() -> None:
    some = min(os.sched_getaffinity(0))
    outcome = run_source(
        f"""
        import os
        os.sched_setaffinity(0, [{some}])
        from gort import runtime
        print(runtime.num_cpu(), runtime.gomaxprocs())
        """
    )
    outcome.check(stdout="1 1\n", stderr="")


@isolated()
def test_num_goroutine() -> None:
    assert runtime.num_goroutine() == 1
    stop = chan()
    for _ in range(5):
        go(stop.recv)
    assert runtime.num_goroutine() == 6
    stop.close()
    while runtime.num_goroutine() > 1:
        runtime.gosched()


def test_gomaxprocs_returns_the_previous_setting() -> None:
    before = runtime.gomaxprocs()
    assert before >= 1
    assert runtime.gomaxprocs(3) == before
    assert runtime.gomaxprocs(0) == 3
    assert runtime.gomaxprocs(-1) == 3
    assert runtime.gomaxprocs(before) == 3


def test_gomaxprocs_needs_an_integer() -> None:
    for bad in ("two", None, 1.5, [2]):
        with pytest.raises(TypeError):
            runtime.gomaxprocs(bad)  # type: ignore[arg-type]


def test_machine_and_version() -> None:
    assert runtime.GOOS == "linux"
    assert runtime.GOARCH == {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    assert runtime.compiler == "cpython"
    from importlib.metadata import version

    assert runtime.version() == "gort" + version("gort")


def test_goroot_is_the_installed_tree() -> None:
    assert runtime.goroot() == os.path.dirname(os.path.abspath(gort.__file__))
    source = "from gort import runtime; import os; os.environ['GOROOT'] = '/later'; print(runtime.goroot())"
    run_source(source, env={"GOROOT": "/opt/go"}).check(stdout="/opt/go\n", stderr="")


def test_breakpoint_is_a_trap() -> None:
    run_source("from gort import runtime; runtime.breakpoint()").check(status="SIGTRAP")


def test_breakpoint_can_be_caught() -> None:
    program = """
        import signal
        from gort import runtime
        signal.signal(signal.SIGTRAP, lambda *_: print("trap"))
        runtime.Breakpoint()
        """
    run_source(program).check(stdout="trap\n", stderr="")


def test_keep_alive_takes_anything() -> None:
    assert runtime.keep_alive(object()) is None


def test_errors() -> None:
    assert issubclass(runtime.Error, RuntimeError)
    assert issubclass(runtime.TypeAssertionError, runtime.Error)


# -- Go's spelling ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "go_name, python_name",
    [
        ("NumGoroutine", "num_goroutine"),
        ("NumCPU", "num_cpu"),
        ("NumCgoCall", "num_cgo_call"),
        ("GOMAXPROCS", "gomaxprocs"),
        ("LockOSThread", "lock_os_thread"),
        ("SetCPUProfileRate", "set_cpu_profile_rate"),
        ("CPUProfile", "cpu_profile"),
        ("FuncForPC", "func_for_pc"),
        ("GC", "gc"),
        ("SetGCPercent", "set_gc_percent"),
        ("ReadGCStats", "read_gc_stats"),
        ("FreeOSMemory", "free_os_memory"),
        ("MemProfileRate", "mem_profile_rate"),
        ("Gosched", "gosched"),
        ("KeepAlive", "keep_alive"),
        ("A2B", "a2_b"),
        ("", ""),
    ],
)
def test_snake_case(go_name: str, python_name: str) -> None:
    assert snake_case(go_name) == python_name


@pytest.mark.parametrize(
    "go_name, python_name",
    [
        ("Breakpoint", "breakpoint"),
        ("Compiler", "compiler"),
        ("GOMAXPROCS", "gomaxprocs"),
        ("GOROOT", "goroot"),
        ("Goexit", "goexit"),
        ("Gosched", "gosched"),
        ("KeepAlive", "keep_alive"),
        ("LockOSThread", "lock_os_thread"),
        ("NumCPU", "num_cpu"),
        ("NumGoroutine", "num_goroutine"),
        ("SetFinalizer", "set_finalizer"),
        ("UnlockOSThread", "unlock_os_thread"),
        ("Version", "version"),
    ],
)
def test_runtime_answers_to_gos_spelling(go_name: str, python_name: str) -> None:
    assert getattr(runtime, go_name) is getattr(runtime, python_name)
    assert go_name in dir(runtime)
    assert python_name in dir(runtime)


def test_import_in_gos_spelling() -> None:
    from gort.runtime import NumCPU
    from gort.runtime.debug import SetMaxThreads

    assert NumCPU is runtime.num_cpu
    assert SetMaxThreads is debug.set_max_threads


def test_assignment_in_gos_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "compiler", "cpython")  # Restores it.
    setattr(runtime, "Compiler", "another")  # noqa: B010  # to type checkers it is a constant
    assert vars(runtime)["compiler"] == "another" == getattr(runtime, "Compiler")  # noqa: B009
    assert "Compiler" not in vars(runtime)


@pytest.mark.parametrize("module, name", [(runtime, "NumNothing"), (runtime, "nothing"), (debug, "Nothing")])
def test_unknown_names(module: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    assert str(caught.value) == f"module {module.__name__!r} has no attribute {name!r}"


@pytest.mark.parametrize(
    "module, name",
    [
        (runtime, "BlockProfile"),
        (runtime, "read_trace"),
        (runtime, "StartTrace"),
        (runtime, "MutexProfile"),
    ],
)
def test_documented_names_say_that_they_are_not_built(module: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    assert str(caught.value) == f"module {module.__name__!r} has no attribute {name!r}: not built yet"
    with pytest.raises(AttributeError, match="not built yet"):
        setattr(module, name, 5)


def test_every_public_name_exists() -> None:
    for module in (runtime, debug):
        for name in module.__all__:
            assert getattr(module, name) is not None


# -- debug ------------------------------------------------------------------------------------


def test_set_max_threads() -> None:
    assert debug.set_max_threads(500) == 10_000
    assert debug.set_max_threads(1 << 31) == 500
    assert debug.set_max_threads(1 << 70) == (1 << 31) - 1
    assert debug.set_max_threads(10_000) == (1 << 31) - 1
    for bad in (0, -1, -(1 << 70)):
        with pytest.raises(ValueError, match="at least 1"):
            debug.set_max_threads(bad)
    with pytest.raises(TypeError):
        debug.set_max_threads("many")  # type: ignore[arg-type]


def test_set_max_stack_is_the_reserve_of_new_goroutines() -> None:
    before = debug.set_max_stack(1 << 20)
    try:
        assert debug.SetMaxStack(1 << 20) == 1 << 20
        assert gort.run(lambda: sorted([3, 1, 2], key=lambda x: -x)) == [3, 2, 1]
    finally:
        debug.set_max_stack(before)
    with pytest.raises(TypeError):
        debug.set_max_stack(None)  # type: ignore[arg-type]


def test_reload_keeps_gos_spelling() -> None:
    code = "import importlib, gort.runtime as r; importlib.reload(r); print(r.NumCPU is r.num_cpu)"
    execute([sys.executable, "-c", code]).check(stdout="True\n")
