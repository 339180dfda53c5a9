"""Writes Go's spellings into the modules that answer to them: python tools/go_names.py [--check]

At run time GoModule finds what runtime.NumGoroutine means. Type checkers cannot, and a __getattr__ that gives
Any would hide each misspelt name from them. So each module declares its spellings to them one by one, between
BEGIN and END: a line for each entry of _INDEX that the module has under its Python name alone.

--check writes nothing; the exit status is 1 if a module is not as it would be written.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "gort"
MODULES = ("runtime/__init__.py", "runtime/debug.py")
BEGIN = "    # Go's spellings, as tools/go_names.py writes them.\n"
END = "    # End of Go's spellings.\n"


def snake_case(name: str) -> str:
    """That of gort, which need not be built for it."""
    spec = importlib.util.spec_from_file_location("_spelling", PACKAGE / "_spelling.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.snake_case(name))


def declared(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """The public names that a module has for a type checker, with what declares them."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = node
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                found[name] = node
            case ast.ImportFrom(names=aliases):
                found |= {alias.asname or alias.name: node for alias in aliases}
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=block):
                found |= declared(block)
    return found


def declaration(go_name: str, name: str, node: ast.stmt) -> str:
    """The line that declares Go's spelling of `name`, which `node` declares."""
    match node:
        case ast.AnnAssign(annotation=annotation, value=None):
            return f"    {go_name}: {ast.unparse(annotation)}\n"
        case ast.AnnAssign(annotation=annotation):
            return f"    {go_name}: {ast.unparse(annotation)} = {name}\n"
    return f"    {go_name} = {name}\n"


def declarations(text: str) -> Iterator[str]:
    """The lines that belong in a module with this text, from which its own lines of this kind were taken."""
    names = declared(ast.parse(text).body)
    index = names["_INDEX"]
    assert isinstance(index, ast.Assign)
    for go_name in ast.literal_eval(index.value):
        name = snake_case(go_name)
        if name in names and go_name not in names:
            yield declaration(go_name, name, names[name])


def written(text: str) -> str:
    """The module's text with its declarations as they should be."""
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the marks of Go's spellings are not there")
    return before + begin + "".join(declarations(f"{before}    pass\n{after}")) + end + after


def main(arguments: list[str]) -> int:
    status = 0
    for file in (PACKAGE / name for name in MODULES):
        text = file.read_text()
        if (new := written(text)) == text:
            continue
        if "--check" in arguments:
            print(f"{file}: Go's spellings are stale: run tools/go_names.py")
            status = 1
        else:
            file.write_text(new)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
