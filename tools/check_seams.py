"""Checks the boundaries inside gort: python tools/check_seams.py [--require-compiler]

* The layers of src/_core: a folder uses only those below it (LAYERS), as the includes and the symbols of the
  compiled files show. So no two folders use each other. What a lower one has to tell goes through
  HOOKS (hooks.h).
* Headers of the system, and what depends on the processor, belong in os/; what depends on CPython's version
  or is internal to it belongs in cpython/. Exceptions are listed here, each with its reason.
* A private name of a Python module, in a string of a C file, belongs in cpython/ as well.
* No file of src/_core is longer than LONGEST lines, except those in LONG. No line of them is wider than
  WIDEST_C columns, and no line of a page's text wider than WIDEST_TEXT.
* A module of src/gort uses no underscore name of another module. Only SEAM uses those of Python's library.

An entry of a list that is no longer needed is a violation too. Prints one line for each violation, then a
summary; the exit status is 1 if there is any. Without a C compiler the symbols are left out; with
--require-compiler that is a violation.
"""

import argparse
import ast
import builtins
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "src" / "_core"
PACKAGE = ROOT / "src" / "gort"

# From the ground up. Files that lie in no folder are above all of them, except SHARED, which all may include:
# the structures, and what comes up from below.
LAYERS = ("os", "lib", "cpython", "mem", "sched", "gc", "sync", "stacks", "cgo", "debug")
SHARED = {"core.h", "hooks.h"}
# What a layer has to tell one above it goes through this constant of hooks.c, and nothing else does.
HOOKS = "hooks"

LONGEST = 700
# Those that are longer all the same.
LONG: set[str] = set()
WIDEST_C, WIDEST_TEXT = 110, 120

# Headers of C itself and of CPython's API, which every file may include; all others are the system's.
PORTABLE = {
    "Python.h",
    "assert.h",
    "errno.h",
    "limits.h",
    "math.h",
    "stdarg.h",
    "stdatomic.h",
    "stdbool.h",
    "stddef.h",
    "stdint.h",
    "stdio.h",
    "stdlib.h",
    "string.h",
    "structmember.h",
}
# (file outside os/, header of the system): why it is there.
SYSTEM_HEADERS = {
    ("cgo/cgo_unwind.c", "dlfcn.h"): "the symbolizer is dladdr, and loads libdw",
    ("cgo/cgo_unwind.c", "link.h"): "tells the interpreter's loaded objects from those of C libraries",
    ("cgo/cgo_unwind.c", "unistd.h"): "getpid, for libdw",
    ("cgo/cgo_unwind.c", "unwind.h"): "it walks C frames with the compiler's unwinder",
    ("sched/g.c", "unistd.h"): "_exit, when a goroutine ends the process",
    ("sched/panic.c", "unistd.h"): "_exit, when a goroutine ends the process",
    ("sched/m.c", "unistd.h"): "pause, in threads that are never to run again",
    ("sched/kick.c", "signal.h"): "it sets the handler of the runtime's own signal",
    ("stacks/signal.c", "signal.h"): "it sets handlers and reads what the kernel hands to them",
    ("stacks/signal.c", "unistd.h"): "_exit, at the end of a signal handler",
    ("stacks/walk.c", "signal.h"): "it sets the handler of the profiling signal",
    ("sync/run.c", "unistd.h"): "getpid tells the child of a fork",
}
# (file outside cpython/, private name of CPython's API): why it is there.
CPYTHON_NAMES = {
    ("sched/sigmask.c", "_PyCFunctionFast"): "the type has no public name before CPython 3.13",
    ("sched/sigmask.c", "_PyCFunctionFastWithKeywords"): "the type has no public name before CPython 3.13",
}
# An empty asm statement is a barrier for the compiler.
PROCESSOR = re.compile(
    r"\b__(?:x86_64|amd64|i386|aarch64|arm)__\b|\b__builtin_(?:ia32|arm|aarch64)_\w+"
    r"|\b(?:__)?asm(?:__)?\b(?!\s*(?:volatile|__volatile__)\s*\(\"\"\))"
)
CPYTHON_INTERNAL = re.compile(
    r"\bPy_BUILD_CORE\b|\bPY_VERSION_HEX\b|#\s*include\s*[<\"](?:cpython/)?internal[./]"
)
CPYTHON_PRIVATE = re.compile(r"\b_Py\w+")

# The module of gort that may use private names of Python's library.
SEAM = "_cpython.py"
# Underscore names that their documentation gives to everybody: of ctypes, cffi, named tuples and sys.
DOCUMENTED = {
    "_CFuncPtr",
    "_Pointer",
    "_SimpleCData",
    "_asdict",
    "_cffi_backend",
    "_fields",
    "_getframe",
    "_objects",
}
# Calls that find an attribute or a dict's item by its name, which is one of the arguments.
LOOKUPS = {
    "__delattr__",
    "__getattribute__",
    "__setattr__",
    "attrgetter",
    "delattr",
    "get",
    "getattr",
    "hasattr",
    "pop",
    "setattr",
    "setdefault",
}


class Arrow(NamedTuple):
    """A use that crosses the layers: `user` needs `symbol`, or includes (`#include`), which `definer` has."""

    user: str
    symbol: str
    definer: str

    def __str__(self) -> str:
        if self.symbol == "#include":
            return f"{self.user}: includes {self.definer} (a layer above)"
        return f"{self.user}: uses {self.symbol} of {self.definer} (a layer above)"


# -- the text of the core ----------------------------------------------------------------------


def core_files(*suffixes: str) -> list[tuple[str, Path]]:
    """The files of src/_core with their names there, in order."""
    return [
        (file.relative_to(CORE).as_posix(), file)
        for file in sorted(CORE.rglob("*"))
        if file.suffix in suffixes
    ]


_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|(\"(?:\\.|[^\"\\\n])*\")", re.DOTALL)


def without_comments(text: str) -> str:
    """C source of as many lines."""
    return _COMMENT.sub(lambda found: found[1] or "\n" * found[0].count("\n"), text)


def lines_of(file: Path) -> Iterator[tuple[int, str]]:
    return enumerate(without_comments(file.read_text()).splitlines(), 1)


def stale(what: str, listed: Iterable[tuple[str, str]], used: set[tuple[str, str]]) -> Iterator[str]:
    """Entries of a list of exceptions that nothing needs."""
    for file, name in listed:
        if (file, name) not in used:
            yield f"check_seams.py: {what} lists {name} in {file}, where it is not used"


def check_system() -> Iterator[str]:
    """Headers of the system outside os/."""
    used = set()
    for name, file in core_files(".c", ".h"):
        for number, line in lines_of(file):
            if name.startswith("os/") or not (found := re.match(r"\s*#\s*include\s*<([^>]+)>", line)):
                continue
            header = found[1]
            used.add((name, header))
            foreign = header not in PORTABLE and not header.startswith("internal/")
            if foreign and (name, header) not in SYSTEM_HEADERS:
                yield f"src/_core/{name}:{number}: <{header}> belongs in os/"
    yield from stale("SYSTEM_HEADERS", SYSTEM_HEADERS, used)


def check_cpython() -> Iterator[str]:
    """What depends on CPython's version, and its private names, outside cpython/."""
    used = set()
    for name, file in core_files(".c", ".h", ".S"):
        if name.startswith("cpython/"):
            continue
        for number, line in lines_of(file):
            if found := CPYTHON_INTERNAL.search(line):
                yield f"src/_core/{name}:{number}: {found[0]} belongs in cpython/"
            for word in CPYTHON_PRIVATE.findall(line):
                used.add((name, word))
                if (name, word) not in CPYTHON_NAMES:
                    yield f"src/_core/{name}:{number}: {word} belongs in cpython/"
    yield from stale("CPYTHON_NAMES", CPYTHON_NAMES, used)


def check_processor() -> Iterator[str]:
    """What depends on the processor, in C outside os/."""
    for name, file in core_files(".c", ".h"):
        if name.startswith("os/"):
            continue
        for number, line in lines_of(file):
            if found := PROCESSOR.search(line):
                yield f"src/_core/{name}:{number}: {found[0]} belongs in os/"


def check_strings() -> Iterator[str]:
    """Strings outside cpython/ that are private names, but for those of gort's own modules and of modules."""
    modules = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")]
    own = {name for file in modules for name in defined_in(parsed(file))}
    known = own | sys.stdlib_module_names | DOCUMENTED
    for name, file in core_files(".c", ".h"):
        if name.startswith("cpython/"):
            continue
        for number, line in lines_of(file):
            for word in re.findall(r'"(_[a-z]\w*)"', line):
                if private(word) and word not in known:
                    yield f'src/_core/{name}:{number}: "{word}" belongs in cpython/'


def check_lengths() -> Iterator[str]:
    """Files of more than LONGEST lines."""
    found = {name: len(file.read_text().splitlines()) for name, file in core_files(".c", ".h", ".S")}
    for name, lines in found.items():
        if lines > LONGEST and name not in LONG:
            yield f"src/_core/{name}: {lines} lines, more than {LONGEST}"
    for name in sorted(LONG):
        if found.get(name, 0) <= LONGEST:
            yield f"check_seams.py: LONG lists {name}, which is not longer than {LONGEST} lines"


# A line that cannot be shorter: nothing but a link, a picture or an address; a row of a table.
_UNBREAKABLE = re.compile(r"\s*(?:[*-] +)?(?:!?\[[^]]*\]\([^)]*\)|<?https?://\S+)[.,]?\s*|\|.*")


def text_lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page that can be wrapped: not those of blocks of code, nor _UNBREAKABLE ones."""
    code = False
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code and not _UNBREAKABLE.fullmatch(line):
            yield number, line


def check_columns() -> Iterator[str]:
    """Lines that are too wide."""
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGES.md")]
    pages += sorted((ROOT / "docs").rglob("*.md"))
    texts = [(page, WIDEST_TEXT, text_lines(page)) for page in pages if page.is_file()]
    texts += [
        (file, WIDEST_C, enumerate(file.read_text().splitlines(), 1))
        for _, file in core_files(".c", ".h", ".S")
    ]
    for file, widest, lines in texts:
        for number, line in lines:
            if len(line) > widest:
                yield f"{file.relative_to(ROOT)}:{number}: {len(line)} columns, more than {widest}"


# -- the layers --------------------------------------------------------------------------------


def layer_of(name: str) -> int:
    """A file's place from the ground up. What lies in a folder that is not a layer is above all others."""
    if name in SHARED:
        return -1
    folder, slash, _ = name.partition("/")
    return LAYERS.index(folder) if slash and folder in LAYERS else len(LAYERS) + (1 if slash else 0)


def crosses(arrow: Arrow) -> bool:
    return layer_of(arrow.user) != layer_of(arrow.definer)


def runs_up(arrow: Arrow) -> bool:
    return layer_of(arrow.user) < layer_of(arrow.definer)


def check_folders() -> Iterator[str]:
    """Folders that are not a layer."""
    folders = {name.partition("/")[0] for name, _ in core_files(".c", ".h", ".S") if "/" in name}
    for folder in sorted(folders - set(LAYERS)):
        yield f"src/_core/{folder}: is not among the layers of check_seams.py"


def included() -> Iterator[tuple[str, str]]:
    """Each file of the core with each of the core's headers that it includes."""
    for name, file in core_files(".c", ".h", ".S"):
        for _, line in lines_of(file):
            if found := re.match(r"\s*#\s*include\s*\"([^\"]+)\"", line):
                # As the compiler does: beside the file first.
                beside = Path(name).parent / found[1]
                yield name, beside.as_posix() if (CORE / beside).is_file() else found[1]


def includes() -> set[Arrow]:
    """The includes of the core's headers, but for SHARED, that files of other folders make."""
    arrows = {Arrow(user, "#include", header) for user, header in included() if (CORE / header).is_file()}
    return {arrow for arrow in arrows if arrow.definer not in SHARED and crosses(arrow)}


def compiler() -> list[str] | str:
    """The command that compiles a file as meson does, or why there is none.

    Without optimization, by which no reference disappears, and with all debug code and what only tests call.
    """
    words = shlex.split(os.environ.get("CC", "cc"))
    headers = sysconfig.get_path("include")
    if not shutil.which(words[0]) or not shutil.which("nm"):
        return "there is no C compiler"
    if not Path(headers, "Python.h").is_file():
        return "Python's C headers are not there"
    flags = ["-c", "-w", "-O0", "-std=gnu11", "-fno-strict-aliasing", "-fwrapv"]
    return [*words, *flags, "-DGORT_DEBUG=3", "-DGORT_TESTS=1", f"-I{CORE}", f"-I{headers}"]


def is_for_this_machine(name: str) -> bool:
    if not name.endswith(".S"):
        return True
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "")
    return name.endswith(f"_{machine}.S")


def symbols_of(command: list[str], name: str, folder: Path) -> tuple[set[str], set[str]]:
    """The symbols that a file defines, and those that it needs."""
    compiled = folder / (name.replace("/", "_") + ".o")
    subprocess.run([*command, str(CORE / name), "-o", str(compiled)], check=True)
    listing = subprocess.run(["nm", "-g", str(compiled)], check=True, capture_output=True, text=True).stdout
    defined: set[str] = set()
    needed: set[str] = set()
    for line in listing.splitlines():
        *_, kind, symbol = line.split()
        (needed if kind in "Uvw" else defined).add(symbol)
    return defined, needed


def uses(command: list[str]) -> set[Arrow]:
    """The uses of symbols that a file of another folder defines."""
    names = [name for name, _ in core_files(".c", ".S") if is_for_this_machine(name)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        symbols = dict(
            zip(names, pool.map(lambda name: symbols_of(command, name, Path(folder)), names), strict=True)
        )
    definer = {symbol: name for name, (defined, _) in symbols.items() for symbol in defined}
    arrows = {
        Arrow(user, symbol, definer[symbol])
        for user, (_, needed) in symbols.items()
        for symbol in needed & definer.keys() - {HOOKS}
    }
    return set(filter(crosses, arrows))


def circles(arrows: set[Arrow]) -> int:
    """How many pairs of folders use each other."""
    pairs = {(layer_of(arrow.user), layer_of(arrow.definer)) for arrow in arrows}
    return sum(user < definer and (definer, user) in pairs for user, definer in pairs)


# -- the Python modules ------------------------------------------------------------------------


def private(name: str) -> bool:
    """True for underscore names. Those that also end with one are Python's own, and those of ctypes."""
    return name.startswith("_") and not name.endswith("_")


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


def defined_in(tree: ast.AST) -> set[str]:
    """The names that a module defines: its own, those of its classes, and what its methods set in self."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                found |= {str(one.value) for one in ast.walk(value) if isinstance(one, ast.Constant)}
    return found


def bound_in(tree: ast.AST) -> set[str]:
    """The names that a module imports, and those of arguments, exceptions and patterns."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                found |= {alias.asname or alias.name.partition(".")[0] for alias in names}
            case ast.arg(arg=name) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                found.add(name)
    return found


def members_of_core() -> set[str]:
    """The underscore members of the core's types. They are C, and belong to no Python module."""
    stub = PACKAGE / "_core.pyi"
    tree = ast.parse(stub.read_text() if stub.is_file() else "")
    return {
        name
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for name in defined_in(ast.Module(node.body, []))
        if private(name)
    }


def is_module_of_gort(name: str) -> bool:
    """Is this dotted name one?"""
    package, *rest = name.split(".")
    path = PACKAGE.joinpath(*rest)
    if package != "gort":
        return False
    return path.is_dir() or any(path.with_suffix(suffix).is_file() for suffix in (".py", ".pyi"))


def names_used(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """The line and the name of each underscore name that a module takes out of something else.

    It is imported, or the name of an attribute, or a constant: an index or an argument of LOOKUPS. Not names
    that are made at run time, such as those of a table.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if any(map(private, alias.name.split("."))) and not is_module_of_gort(alias.name):
                        yield node.lineno, alias.name
            case ast.ImportFrom():
                base = package[: len(package) + 1 - node.level] if node.level else ()
                module = ".".join((*base, *filter(None, [node.module])))
                for alias in node.names:
                    full = f"{module}.{alias.name}"
                    if private(alias.name) and not is_module_of_gort(full):
                        yield node.lineno, full
            case ast.Attribute(attr=name) if private(name):
                if not is_module_of_gort(ast.unparse(node)):
                    yield node.lineno, name
            case ast.Subscript(slice=ast.Constant(value=str(name))) if private(name):
                yield node.lineno, name
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)) if called in LOOKUPS:
                for argument in node.args:
                    match argument:
                        case ast.Constant(value=str(name)) if private(name):
                            yield node.lineno, name


def names_free(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and the name of each underscore name that stands alone and is bound nowhere in the module."""
    bound = defined_in(tree) | bound_in(tree) | set(vars(builtins))
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) if private(name) and name not in bound:
                yield node.lineno, name


def check_privacy() -> Iterator[str]:
    """Underscore names that a module uses and does not define.

    A module whose own name begins with an underscore belongs to the package, and may be imported everywhere
    in it.
    """
    core = members_of_core()
    for file in sorted(PACKAGE.rglob("*.py")) + sorted(PACKAGE.parent.glob("*.py")):
        if file == PACKAGE / SEAM:
            continue
        package = ("gort", *file.relative_to(PACKAGE).parent.parts) if PACKAGE in file.parents else ()
        tree = parsed(file)
        own = defined_in(tree) | core
        for line, name in sorted({*names_used(tree, package), *names_free(tree)}):
            member = name.rpartition(".")[2]
            imported = "." in name
            if member not in DOCUMENTED and (imported or member not in own):
                yield f"{file.relative_to(ROOT)}:{line}: {name} is private to another module"


# ----------------------------------------------------------------------------------------------


def main(argv: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(description="Checks the boundaries inside gort.")
    parser.add_argument("--require-compiler", action="store_true", help="fail if there is no C compiler")
    required = parser.parse_args(argv).require_compiler
    every, missing = includes(), False
    match compiler():
        case str(reason):
            print(f"check_seams: {reason}: the symbols of the core were not looked at")
            missing = True
        case command:
            every |= uses(command)
    up = sorted(filter(runs_up, every))
    faults = [
        *check_folders(),
        *check_system(),
        *check_cpython(),
        *check_processor(),
        *check_strings(),
        *check_lengths(),
        *check_columns(),
        *map(str, up),
        *check_privacy(),
    ]
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"check_seams: {len(up)} arrows run up, {circles(every)} pairs of folders use each other")
    return 1 if faults or (missing and required) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
