"""Checks the boundaries inside gort: python tools/check_seams.py

* Only compat.c and compat.h depend on the CPython version or on its internal headers, only os_linux.c and
  os.h on the operating system.
* A module of src/gort uses another module's underscore names only if the other is in SHARED.
* _core.pyi and the built core hold the same names. Skipped, and said so, where gort is not installed.

Prints one line for each violation; the exit status is 1 if there is any.
"""

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "src" / "_core"
PACKAGE = ROOT / "src" / "gort"

# Text that only the named files of src/_core may hold.
SEAMS: list[tuple[str, set[str]]] = [
    (r"\bPy_BUILD_CORE\b|\bPY_VERSION_HEX\b|#\s*include\s*[<\"]internal/", {"compat.c", "compat.h"}),
    (
        r"#\s*include\s*<(sys/mman|linux/futex|sys/syscall|pthread)\.h>",
        {"os_linux.c", "os.h"},
    ),
    (r"#\s*include\s*<signal\.h>", {"os_linux.c", "os.h", "signal.c", "walk.c"}),
]

# Private modules that belong to the whole package.
SHARED = {
    "_assert",
    "_cgo",
    "_cgocheck",
    "_commands",
    "_core",
    "_duration",
    "_env",
    "_finalizer",
    "_heap",
    "_lazy",
    "_memstats",
    "_run",
    "_spelling",
    "_symtab",
    "_threads",
    "_traceback",
}

# What typing needs in the stub and the binary has no use for.
TYPING = {"TypeVar", "ParamSpec", "TypeVarTuple"}


def check_seams() -> Iterator[str]:
    """Violations of SEAMS."""
    for file in sorted(CORE.rglob("*")):
        if file.suffix not in {".c", ".h", ".S"}:
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            for pattern, allowed in SEAMS:
                if file.name not in allowed and (found := re.search(pattern, line)):
                    places = ", ".join(sorted(allowed))
                    yield f"{file.relative_to(ROOT)}:{number}: {found[0]} belongs in {places}"


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def check_privacy() -> Iterator[str]:
    """Underscore names of one module of gort that another one uses."""
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = ("gort", *file.relative_to(PACKAGE).with_suffix("").parts)
        package = parts[:-1]
        if parts[-1] == "__main__":  # it is the command, as _cli is
            continue
        aliases: set[str] = set()  # local names of modules of gort
        tree = ast.parse(file.read_text(), str(file))
        for node in ast.walk(tree):
            names: list[str] = []
            match node:
                case ast.Import():
                    names = [alias.name for alias in node.names if alias.name.split(".")[0] == "gort"]
                    aliases |= {alias.asname or "gort" for alias in node.names if alias.name in names}
                case ast.ImportFrom():
                    base = package[: len(package) + 1 - node.level] if node.level else ()
                    module = ".".join((*base, *filter(None, [node.module])))
                    if module.split(".")[0] == "gort":
                        names = [f"{module}.{alias.name}" for alias in node.names]
                        aliases |= {a.asname or a.name for a in node.names if not a.name[0].isupper()}
                case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner in aliases - SHARED:
                    names = [attr]
            for name in names:
                words = name.split(".")
                if not SHARED & set(words) and any(map(private, words)):
                    where = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
                    yield f"{where}: {name} is private to another module"


def members(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """The names that the body of a stub's module or class declares."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found[node.name] = node
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
            case ast.Assign(value=ast.Call(func=ast.Name(id=kind))) if kind in TYPING:
                pass
            case ast.Assign(targets=[ast.Name(id=name)]):
                found[name] = node
    return found


def check_stub(core: ModuleType) -> Iterator[str]:
    """Differences between _core.pyi and the built module."""
    stub = members(ast.parse((PACKAGE / "_core.pyi").read_text()).body)
    public = {name for name in stub if not private(name)}
    built = {name for name in vars(core) if not name.startswith("_")}
    yield from (f"_core.pyi: {name} is not in the built core" for name in sorted(public - built))
    yield from (f"_core.pyi lacks {name} of the built core" for name in sorted(built - public))
    for name in sorted(public & built):
        node, value = stub[name], getattr(core, name)
        if not isinstance(node, ast.ClassDef):
            continue
        if not isinstance(value, type):
            yield f"_core.pyi: {name} is a class there, but {type(value).__name__} in the built core"
            continue
        declared = set(members(node.body))
        for base in node.bases:
            if isinstance(base, ast.Name) and isinstance(parent := stub.get(base.id), ast.ClassDef):
                declared |= set(members(parent.body))
        yield from (
            f"_core.pyi: {name}.{m} is not in the built core" for m in declared if not hasattr(value, m)
        )
        if not issubclass(value, tuple):  # a structure sequence has helpers of its own
            extra = {m for m in vars(value) if not m.startswith("_")} - declared
            yield from (f"_core.pyi lacks {name}.{m} of the built core" for m in sorted(extra))


def main() -> int:
    faults = [*check_seams(), *check_privacy()]
    if importlib.util.find_spec("gort") is None:
        print("check_seams: gort is not installed here: _core.pyi was not compared with the built core")
    else:
        faults += check_stub(importlib.import_module("gort._core"))
    print(*faults, sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
