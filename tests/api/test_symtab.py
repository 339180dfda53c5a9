"""PCs: callers, caller, callers_frames, func_for_pc."""

from __future__ import annotations

import functools
import gc
import importlib
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from gort import _core, run, runtime


def names(pcs: list[int]) -> list[str]:
    return [frame.function for frame in runtime.callers_frames(pcs)]


def here() -> list[int]:
    return runtime.callers(1)


# -- callers and caller ------------------------------------------------------------------------


def test_callers_begins_with_itself() -> None:
    frames = list(runtime.callers_frames(runtime.callers(0)))
    assert frames[0].function == "gort.runtime.callers"
    assert frames[1].function == f"{__name__}.test_callers_begins_with_itself"
    assert names(runtime.callers(1)) == [frame.function for frame in frames[1:]]


def test_callers_are_the_interpreters_frames() -> None:
    pcs = runtime.callers(1)
    expected = []
    frame = sys._getframe()
    while frame is not None:
        expected.append(
            (frame.f_globals["__name__"] + "." + frame.f_code.co_qualname, frame.f_code.co_filename)
        )
        frame = frame.f_back  # type: ignore[assignment]
    assert [(f.function, f.file) for f in runtime.callers_frames(pcs)] == expected


def test_limit_and_skip() -> None:
    pcs = runtime.callers(0)
    assert runtime.callers(0, 0) == []
    assert len(runtime.callers(0, 2)) == 2
    assert runtime.callers(len(pcs)) == [] == runtime.callers(10**30)
    assert len(runtime.callers(0, 10**30)) == len(pcs)

    def deep(n: int) -> list[int]:
        return deep(n - 1) if n else runtime.callers(1)

    many = deep(300)
    assert len(many) >= 301 and len(set(many[1:301])) == 1
    assert len(deep(300)[:200]) == 200


def test_caller() -> None:
    pc, file, line, ok = runtime.caller(0)
    assert ok and file == __file__ and line == test_caller.__code__.co_firstlineno + 1
    func = runtime.func_for_pc(pc)
    assert func is not None and func.name() == f"{__name__}.test_caller"

    def inner() -> Any:
        return runtime.caller(1)

    assert inner().line == test_caller.__code__.co_firstlineno + 9
    assert runtime.caller(10**9) == (0, "", 0, False)
    assert runtime.Caller is type(runtime.caller(0))


@pytest.mark.parametrize("call", [runtime.callers, runtime.caller, lambda n: runtime.callers(0, n)])
def test_bad_numbers(call: Callable[[Any], Any]) -> None:
    for bad in (-1, -(10**30)):
        with pytest.raises(ValueError, match=str(bad)):
            call(bad)
    for worse in ("1", 1.0, [1]):
        with pytest.raises(TypeError):
            call(worse)


def test_in_a_goroutine() -> None:
    assert names(run(here))[0] == f"{__name__}.here"


# -- Frames ------------------------------------------------------------------------------------


def test_next_tells_whether_there_are_more() -> None:
    pcs = runtime.callers(0, 3)
    frames = runtime.callers_frames(pcs)
    seen = []
    more = True
    while more:
        frame, more = frames.next()
        seen.append(frame)
    assert [frame.function for frame in seen] == names(pcs) and len(seen) == 3
    assert frames.next() == ((0, None, "", "", 0, 0), False)
    assert list(frames) == []
    assert runtime.callers_frames([]).next()[1] is False


def test_frame_and_func_agree() -> None:
    (pc,) = runtime.callers(1, 1)
    frame, _ = runtime.callers_frames([pc]).next()
    func = frame.func
    assert isinstance(func, runtime.Func) and func == runtime.func_for_pc(pc) == runtime.func_for_pc(frame.pc)
    assert frame.pc == pc - 1 and frame.entry == func.entry() <= frame.pc
    assert func.file_line(frame.pc) == (frame.file, frame.line) == (__file__, frame.line)
    assert func.name() == frame.function and repr(func.entry() and func).startswith("<Func ")
    assert runtime.func_for_pc(func.entry()) == func
    assert func.file_line(func.entry() - 1) == (__file__, 0)


def test_unknown_pcs() -> None:
    for nobody in (0, 1, -1, 2**62, 2**70):
        assert runtime.func_for_pc(nobody) is None
        assert list(runtime.callers_frames([nobody])) == []
    with pytest.raises(TypeError, match="None"):
        runtime.func_for_pc(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'x'"):
        runtime.callers_frames(["x"])  # type: ignore[list-item]


# -- the text segment --------------------------------------------------------------------------


def codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from codes(const)


@pytest.mark.parametrize("name", ["argparse", "typing", "asyncio.base_events", "_pydecimal", "json.decoder"])
def test_lines_of_every_instruction(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec and spec.origin
    top = compile(Path(spec.origin).read_text(), spec.origin, "exec")
    checked = 0
    for code in codes(top):
        entry = _core._entry_of(code)
        for start, end, line in code.co_lines():
            for offset in range(start, end, 2):
                if line:  # a module's first instruction has line 0
                    assert _core.pc_line(entry + offset) == line, (code.co_qualname, offset)
                    assert _core.pc_line(entry + offset + 1) == line  # a return PC less 1
                    checked += 1
    assert checked > 1000


def test_ranges_do_not_meet() -> None:
    spec = importlib.util.find_spec("argparse")
    assert spec and spec.origin
    top = compile(Path(spec.origin).read_text(), spec.origin, "exec")
    ranges = sorted((_core._entry_of(code), len(code.co_code)) for code in codes(top))
    for (entry, size), (after, _) in zip(ranges, ranges[1:], strict=False):
        assert entry + size < after
    assert len({_core._entry_of(code) for code in codes(top)}) == len(ranges)
    assert sorted(_core._entry_of(code) for code in codes(top)) == [entry for entry, _ in ranges]


def dead_code() -> tuple[int, int]:
    space: dict[str, Any] = {"here": lambda: runtime.callers(1)}
    exec(compile("def f(): return here()", "gone.py", "exec"), space)
    pc = space["f"]()[1]
    func = runtime.func_for_pc(pc)
    assert func is not None and func.file_line(pc)[0] == "gone.py"
    return pc, func.entry()


def test_code_that_died() -> None:
    pcs = []
    for _ in range(2000):
        pcs.append(dead_code()[0])
    gc.collect()
    assert all(runtime.func_for_pc(pc) is None for pc in pcs)
    assert list(runtime.callers_frames(pcs)) == []
    assert runtime.callers_frames(pcs).next() == ((0, None, "", "", 0, 0), False)
    assert len(set(pcs)) == len(pcs), "a range was given out twice"
    assert runtime.func_for_pc(runtime.callers(1)[0]) is not None


# -- names -------------------------------------------------------------------------------------


def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


class Thing:
    def method(self) -> list[int]:
        return here()

    @staticmethod
    @decorate
    def static() -> list[int]:
        return here()

    class Inner:
        @classmethod
        def make(cls) -> list[int]:
            return here()


def generator() -> Iterator[list[int]]:
    yield here()


async def coroutine() -> list[int]:
    return here()


def test_names() -> None:
    def name(pcs: list[int]) -> str:
        return names(pcs)[1].removeprefix(f"{__name__}.")

    assert name(Thing().method()) == "Thing.method"
    assert name(Thing.static()) == "Thing.static"
    assert names(Thing.static())[2] == f"{__name__}.decorate.<locals>.wrapper"
    assert name(Thing.Inner.make()) == "Thing.Inner.make"
    assert name(next(generator())) == "generator"
    assert name((lambda: here())()) == "test_names.<locals>.<lambda>"
    try:
        coroutine().send(None)
    except StopIteration as stop:
        assert name(stop.value) == "coroutine"


def test_comprehensions_are_lines_of_their_function() -> None:
    frames = list(
        runtime.callers_frames(
            [
                here()
                for _ in range(1)
            ][0]
        )
    )  # fmt: skip
    name = f"{__name__}.test_comprehensions_are_lines_of_their_function"
    if sys.version_info >= (3, 12):
        assert frames[1].function == name
    else:
        assert frames[1].function == f"{name}.<locals>.<listcomp>"
    assert frames[1].line == test_comprehensions_are_lines_of_their_function.__code__.co_firstlineno + 4


def test_code_without_a_module() -> None:
    space: dict[str, Any] = {"here": here}
    code = compile("pcs = here()", "<string>", "exec")  # kept: without it its PCs mean nothing
    exec(code, space)
    assert names(space["pcs"])[1] == "?.<module>"
    space["__name__"] = "made.up"
    code = compile("def f(): return here()\npcs = f()", "<string>", "exec")
    exec(code, space)
    assert names(space["pcs"])[1:3] == ["made.up.f", "made.up.<module>"]
    bare = FunctionType(compile("here()", "nowhere.py", "eval"), {"here": here})
    assert next(iter(list(runtime.callers_frames(bare()))[1:])).file == "nowhere.py"


def test_frozen_and_zipped_modules(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("zipped_mod.py", "def f(call):\n    return call()\npcs = PCS()\n")
    sys.path.insert(0, str(tmp_path / "packed.zip"))
    import builtins

    vars(builtins)["PCS"] = here
    try:
        module = importlib.import_module("zipped_mod")
    finally:
        sys.path.pop(0)
        del vars(builtins)["PCS"]
    frames = list(runtime.callers_frames(module.f(here)))
    assert frames[1].function == "zipped_mod.f" and frames[1].line == 2
    assert frames[1].file == str(tmp_path / "packed.zip" / "zipped_mod.py")
    # The module's own code is gone, the frozen importer's is not.
    assert "importlib._bootstrap._find_and_load" in names(module.pcs)


@pytest.mark.parametrize("depth", [10, 62, 63, 64, 65, 126, 127, 128, 129, 600])
def test_callers_of_deep_stacks(depth: int) -> None:
    """Whole, in order, and cut where it is asked for, at each size of the array that they are gathered in."""

    def deep(n: int) -> list[int]:
        return deep(n - 1) if n else runtime.callers(0)

    whole = deep(depth)
    assert names(whole)[1 : depth + 2] == [f"{__name__}.{deep.__qualname__}"] * (depth + 1)

    def parts(n: int) -> None:
        if n:
            parts(n - 1)
            return
        mine = runtime.callers(0)
        for skip in (0, 1, 5, 63, 64, 65, 127, 128):
            for limit in (0, 1, 63, 64, 65, 127, 128, 129, len(mine), 10**12):
                got = runtime.callers(skip, limit)
                assert len(got) == max(0, min(limit, len(mine) - skip))
                assert got[2:] == mine[skip + 2 :][: max(0, limit - 2)]

    parts(depth)


def test_a_deep_stack_is_walked_once() -> None:
    """callers() costs what the depth costs: ten times the depth is not a hundred times the time."""

    def cost(depth: int) -> float:
        if depth:
            return cost(depth - 1)
        best = 9.0
        for _ in range(5):
            start = time.thread_time()
            runtime.callers(0)
            best = min(best, time.thread_time() - start)
        return best

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        few, many = cost(3_000), cost(60_000)
    finally:
        sys.setrecursionlimit(limit)
    assert many < 130 * few  # it is 20 to 50 times; quadratic it would be 400
