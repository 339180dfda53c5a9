"""tools/check_seams.py holds for this tree and finds each kind of violation."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness import load_tool


@pytest.fixture
def tool() -> ModuleType:
    return load_tool("check_seams")


def at(tool: Any, root: Path, files: dict[str, str]) -> None:
    """Lets the tool look at these files instead of gort's own, with empty lists of exceptions."""
    tool.ROOT, tool.CORE, tool.PACKAGE = root, root / "src" / "_core", root / "src" / "gort"
    for name in ("SYSTEM_HEADERS", "CPYTHON_NAMES"):
        setattr(tool, name, {})
    tool.LONG = set()
    for name, text in files.items():
        file = root / "src" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_this_tree(tool: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main() == 0, capsys.readouterr().out
    assert "check_seams" not in sys.modules


# -- the text of the core ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["sys/mman.h", "linux/futex.h", "pthread.h", "signal.h", "unistd.h", "dlfcn.h", "link.h", "time.h"],
)
def test_system(tool: Any, tmp_path: Path, header: str) -> None:
    text = f"#include <string.h>\n#  include <{header}>\n"
    at(tool, tmp_path, {"_core/sched/sched.c": text, "_core/os/os_linux.c": text})
    assert list(tool.check_system()) == [f"src/_core/sched/sched.c:2: <{header}> belongs in os/"]
    tool.SYSTEM_HEADERS = {("sched/sched.c", header): "a reason"}
    assert list(tool.check_system()) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("#if PY_VERSION_HEX < 0x030c0000", "PY_VERSION_HEX"),
        ("#define Py_BUILD_CORE", "Py_BUILD_CORE"),
        ('#include "internal/pycore_frame.h"', '#include "internal/'),
        ("x = _PyEval_EvalFrameDefault(f);", "_PyEval_EvalFrameDefault"),
        ("x = _Py_Dealloc(f); /* _PyNot_This */", "_Py_Dealloc"),
    ],
)
def test_cpython(tool: Any, tmp_path: Path, text: str, what: str) -> None:
    text = f"// _PyNot_This\n{text}\n"
    at(tool, tmp_path, {"_core/sched/sched.c": text, "_core/cpython/compat.c": text})
    assert list(tool.check_cpython()) == [f"src/_core/sched/sched.c:2: {what} belongs in cpython/"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("#if defined(__x86_64__) || 0", "__x86_64__"),
        ("#ifdef __aarch64__", "__aarch64__"),
        ("    __builtin_ia32_pause();", "__builtin_ia32_pause"),
        ('    __asm__("mrs %0, fpcr" : "=r"(fpcr));', "__asm__"),
        ('    asm volatile("nop");', "asm"),
    ],
)
def test_processor(tool: Any, tmp_path: Path, text: str, what: str) -> None:
    text = f'// __x86_64__\n__asm__ volatile("");\n{text}\n'
    at(tool, tmp_path, {"_core/sched/sched.c": text, "_core/os/arch/arch.h": text})
    assert list(tool.check_processor()) == [f"src/_core/sched/sched.c:3: {what} belongs in os/"]


def test_exceptions_that_nothing_needs(tool: Any, tmp_path: Path) -> None:
    at(tool, tmp_path, {"_core/sched/g.c": "#include <errno.h>\n"})
    tool.SYSTEM_HEADERS = {("sched/g.c", "unistd.h"): "a reason"}
    tool.CPYTHON_NAMES = {("sched/g.c", "_Py_X"): "a reason"}
    found = [*tool.check_system(), *tool.check_cpython()]
    assert found == [
        "check_seams.py: SYSTEM_HEADERS lists unistd.h in sched/g.c, where it is not used",
        "check_seams.py: CPYTHON_NAMES lists _Py_X in sched/g.c, where it is not used",
    ]


def test_comments(tool: Any) -> None:
    text = 'a; /* b\n * "c" */ d; // e\n"/* f */" g;\n'
    assert tool.without_comments(text) == 'a; \n d; \n"/* f */" g;\n'


def test_lengths(tool: Any, tmp_path: Path) -> None:
    files = {"_core/gc/a.c": "x\n" * 700, "_core/gc/b.c": "x\n" * 701, "_core/gc/c.c": "x\n" * 701}
    at(tool, tmp_path, files)
    tool.LONG = {"gc/a.c", "gc/b.c", "gc/gone.c"}
    assert list(tool.check_lengths()) == [
        "src/_core/gc/c.c: 701 lines, more than 700",
        "check_seams.py: LONG lists gc/a.c, which is not longer than 700 lines",
        "check_seams.py: LONG lists gc/gone.c, which is not longer than 700 lines",
    ]


def test_strings(tool: Any, tmp_path: Path) -> None:
    """Names of Python's library, but not those of its modules, nor what gort's modules and types have."""
    text = """f("_x"); // "_comment"
f("_thread", "_cffi_backend", "_walk", "_value", "_items", "__name__", "_type_", "_C_API", "_not.one");
f("a", "_started");
"""
    files = {
        "_core/sched/g.c": text,
        "_core/sched/g.h": '#define X "_obj"\n',
        "_core/cpython/threading.c": text,
    }
    at(tool, tmp_path, {**files, "gort/_core.pyi": STUB, "gort/sync.py": "class A:\n    _items: int\n"})
    assert list(tool.check_strings()) == [
        'src/_core/sched/g.c:1: "_x" belongs in cpython/',
        'src/_core/sched/g.c:3: "_started" belongs in cpython/',
        'src/_core/sched/g.h:1: "_obj" belongs in cpython/',
    ]


def test_columns(tool: Any, tmp_path: Path) -> None:
    code, text = "x" * 110 + "\n", "µ " * 60 + "\n"
    files = dict.fromkeys(("_core/g.c", "_core/g.h", "_core/os/arch/g.S"), code + "y" + code)
    at(tool, tmp_path, files)
    link = f"[a link]({'x' * 120})"
    address = f"https://{'x' * 120}"
    page = f"""{text}y{text}| {text}
* {link}
{link}.
{address}
see {link}
```sh
y{text}```
y{text}
"""
    pages = ["README.md", "CONTRIBUTING.md", "CHANGES.md", "docs/a.md", "docs/internals/b.md"]
    for name in (*pages, "bench/c.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(page)
    expected = [
        f"{name}:{line}: {columns} columns, more than 120"
        for name in pages
        for line, columns in ((2, 121), (8, 134), (12, 121))
    ]
    expected += [f"src/{name}:2: 111 columns, more than 110" for name in files]
    assert list(tool.check_columns()) == expected


# -- the layers --------------------------------------------------------------------------------


def up(tool: Any, arrows: set[Any]) -> list[str]:
    return sorted(str(arrow) for arrow in arrows if tool.runs_up(arrow))


def test_includes(tool: Any, tmp_path: Path) -> None:
    files = {
        "_core/core.h": '#include "os/os.h"\n',
        "_core/os/os.h": '#include "core.h"\n',
        "_core/sched/g.c": '#include <errno.h>\n#include "os/os.h"\n#include "g.h"\n#include "sync/chan.h"\n',
        "_core/sched/g.h": '// #include "debug/x.h"\n',
        "_core/sync/chan.h": '#include "core.h"\n#include "sched/g.h"\n',
        "_core/debug/x.h": "",
        "_core/module.c": '#include "debug/x.h"\n',
    }
    at(tool, tmp_path, files)
    assert up(tool, tool.includes()) == [
        "core.h: includes os/os.h (a layer above)",
        "sched/g.c: includes sync/chan.h (a layer above)",
    ]


def compiler(tool: Any) -> list[str]:
    match tool.compiler():
        case str(reason):
            pytest.skip(reason)
        case command:
            return list(command)


def test_symbols(tool: Any, tmp_path: Path) -> None:
    files = {
        "_core/sched/g.c": "int x; extern int chan_count; int g(void) { return x + chan_count; }\n",
        "_core/sync/chan.c": "int g(void); int chan_count; int chan(void) { return g(); }\n",
        "_core/module.c": "int chan(void); int face(void) { return chan(); }\n",
        "_core/os/o.c": "static int chan; int o(void) { return chan; }\n",
    }
    at(tool, tmp_path, files)
    found = tool.uses(compiler(tool))
    assert up(tool, found) == ["sched/g.c: uses chan_count of sync/chan.c (a layer above)"]
    assert ("sync/chan.c", "g", "sched/g.c") in found
    assert tool.circles(found) == 1


def test_symbols_of_the_face(tool: Any, tmp_path: Path) -> None:
    files = {
        "_core/module.c": "int face(void) { return 1; }\n",
        "_core/debug/d.c": "int face(void); int d(void) { return face(); }\n",
    }
    at(tool, tmp_path, files)
    assert up(tool, tool.uses(compiler(tool))) == ["debug/d.c: uses face of module.c (a layer above)"]


def test_folders(tool: Any, tmp_path: Path) -> None:
    at(tool, tmp_path, {"_core/attic/x.c": "", "_core/os/arch/y.S": "", "_core/module.c": ""})
    assert list(tool.check_folders()) == ["src/_core/attic: is not among the layers of check_seams.py"]


def test_without_a_compiler(
    tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at(tool, tmp_path, {"gort/time.py": "", "_core/os/o.c": '#include "gc/g.h"', "_core/gc/g.h": ""})
    monkeypatch.setenv("CC", "no-such-compiler")
    assert tool.main() == 1
    assert capsys.readouterr().out.splitlines() == [
        "check_seams: there is no C compiler: the symbols of the core were not looked at",
        "os/o.c: includes gc/g.h (a layer above)",
        "check_seams: 1 arrows run up, 0 pairs of folders use each other",
    ]


def test_with_a_compiler_required(
    tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at(tool, tmp_path, {"gort/time.py": "", "_core/os/o.c": ""})
    monkeypatch.setenv("CC", "no-such-compiler")
    assert tool.main() == 0
    assert tool.main(["--require-compiler"]) == 1
    assert "there is no C compiler" in capsys.readouterr().out
    monkeypatch.delenv("CC")
    compiler(tool)
    assert tool.main(["--require-compiler"]) == 0


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"_core/attic/x.c": ""}, "src/_core/attic: is not among the layers of check_seams.py"),
        ({"_core/lib/x.c": "#include <poll.h>\n"}, "src/_core/lib/x.c:1: <poll.h> belongs in os/"),
        ({"_core/lib/x.c": "int _Py_X;\n"}, "src/_core/lib/x.c:1: _Py_X belongs in cpython/"),
        ({"_core/lib/x.c": 'char *x = "_x";\n'}, 'src/_core/lib/x.c:1: "_x" belongs in cpython/'),
        ({"_core/lib/x.c": "\n" * 701}, "src/_core/lib/x.c: 701 lines, more than 700"),
        ({"_core/lib/x.c": "/*" + "x" * 108 + "*/"}, "src/_core/lib/x.c:1: 112 columns, more than 110"),
        (
            {"_core/lib/x.c": '#include "mem/y.h"\n', "_core/mem/y.h": ""},
            "lib/x.c: includes mem/y.h (a layer above)",
        ),
        (
            {"_core/lib/x.c": "void y(void); void x(void) { y(); }", "_core/mem/y.c": "void y(void) {}"},
            "lib/x.c: uses y of mem/y.c (a layer above)",
        ),
        (
            {
                "_core/lib/x.c": "void y(void); void x(void) { y(); }",
                "_core/mem/y.c": "void x(void); void y(void) { x(); }",
            },
            "check_seams: 1 arrows run up, 1 pairs of folders use each other",
        ),
        ({"gort/x.py": "a._x"}, "src/gort/x.py:1: _x is private to another module"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_each_fault_ends_the_run(
    tool: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str], line: str
) -> None:
    compiler(tool)
    at(tool, tmp_path, files)
    assert tool.main() == 1
    assert line in capsys.readouterr().out.splitlines()


# -- the Python modules ------------------------------------------------------------------------

STUB = "class Once:\n    def _value(self) -> int: ...\n\ndef _walk() -> int: ...\n"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("from ._lazy import subpackages\nfrom . import _core\n_core.go", ""),
        ("import gort._lazy\ngort._lazy.subpackages", ""),
        ("from . import _core\n_core.Once()._value()", ""),
        ("from .context import __doc__", ""),
        ("import ctypes\nctypes.c_int._type_", ""),
        ("class A:\n    _x: int\n\ndef f(a):\n    return a._x", ""),
        ("class A:\n    __slots__ = ('_x',)\n\ndef f(a):\n    return a._x", ""),
        ("class A:\n    def __init__(self):\n        self._x = 1\n\ndef f(a):\n    return a._x", ""),
        ("def _f(): ...\nf = [_f]", ""),
        ("def f(_a, *_b, **_c):\n    return _a, _b, _c", ""),
        ("try: ...\nexcept OSError as _e:\n    print(_e)", ""),
        ("match 1:\n    case _n:\n        print(_n)", ""),
        ("import os as _os\n_os.getpid()", ""),
        ("_x = 1\nglobals()['_x']\nglobals().get('_x')", ""),
        ("a['__x__'], a.get('__x__'), a['x'], a.get('x', '_'), f('_x')", ""),
        ("sys.modules['_cffi_backend']", ""),
        ("from . import _core\n_core._walk()", "_walk"),
        ("from ._core import _walk", "gort._core._walk"),
        ("from gort._lazy import _secret", "gort._lazy._secret"),
        ("from . import _lazy\n_lazy._secret", "_secret"),
        ("from . import _lazy\ngetattr(_lazy, '_secret')", "_secret"),
        ("from . import context\ncontext._Node", "_Node"),
        ("from .context import _Node", "gort.context._Node"),
        ("from . import _secret", "gort._secret"),
        ("import threading\nthreading._shutdown()", "_shutdown"),
        ("from threading import _shutdown", "threading._shutdown"),
        ("def f(a):\n    a._x = 1", "_x"),
        ("def f(a):\n    del a._x", "_x"),
        ("vars(threading)['_x']", "_x"),
        ("a['_x'] = 1", "_x"),
        ("a.get('_x')", "_x"),
        ("a.get(1, '_x')", "_x"),
        ("hasattr(a, '_x')", "_x"),
        ("setattr(a, '_x', 1)", "_x"),
        ("object.__setattr__(a, '_x', 1)", "_x"),
        ("operator.attrgetter('_x')", "_x"),
        ("def f():\n    return _x", "_x"),
        ("import _imp", "_imp"),
        ("import xml._x", "xml._x"),
    ],
)
def test_privacy(tool: Any, tmp_path: Path, text: str, fault: str) -> None:
    at(
        tool,
        tmp_path,
        {
            "gort/time.py": text,
            "gort/context.py": "class _Node: ...",
            "gort/__init__.py": "_secret = 1",
            "gort/_lazy.py": "_secret = 1",
            "gort/_core.pyi": STUB,
        },
    )
    faults = list(tool.check_privacy())
    expected = [f"{fault} is private to another module"] if fault else []
    assert [text.split(": ", 1)[1] for text in faults] == expected


def test_the_seam_may_use_private_names(tool: Any, tmp_path: Path) -> None:
    text = "import threading\nthreading._x, vars(threading)['_y'], _z"
    at(tool, tmp_path, {"gort/_cpython.py": text, "gort/sync/_cpython.py": text, "gort/sync/__init__.py": ""})
    assert [fault.rpartition(":")[0] for fault in tool.check_privacy()] == ["src/gort/sync/_cpython.py:2"] * 3


def test_private_names_are_documented(tool: Any) -> None:
    """The table of docs/internals/seams.md has what _cpython.py and src/_core/cpython/ use, and no other."""
    page = (tool.ROOT / "docs" / "internals" / "seams.md").read_text()
    section = page.split("\n### Private names of the standard library\n")[1].split("\n## ")[0]
    cells = "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))
    documented = {name.rpartition(".")[2] for name in re.findall(r"`([\w.]+)`", cells)}
    tree = tool.parsed(tool.PACKAGE / tool.SEAM)
    used = {name for _, name in [*tool.names_used(tree, ("gort",)), *tool.names_free(tree)]}
    assert {"_obj", "_active", "_get_protocol_attrs"} <= used
    ours = {name for name in used if name.startswith("_gort_")} | tool.defined_in(tree)
    strings = {
        word
        for name, file in tool.core_files(".c", ".h")
        if name.startswith("cpython/")
        for word in re.findall(r'"(_[a-z]\w*)"', tool.without_comments(file.read_text()))
    }
    assert documented == (used - ours) | strings


def test_privacy_in_a_subpackage(tool: Any, tmp_path: Path) -> None:
    files = {
        "gort/__init__.py": "",
        "gort/_env.py": "_texts = {}",
        "gort/runtime/__init__.py": "from .. import _env\nfrom .._env import _texts\n",
        "pytest_gort.py": "from gort import _env\n_env._texts\n",
    }
    at(tool, tmp_path, files)
    assert list(tool.check_privacy()) == [
        "src/gort/runtime/__init__.py:2: gort._env._texts is private to another module",
        "src/pytest_gort.py:2: _texts is private to another module",
    ]
