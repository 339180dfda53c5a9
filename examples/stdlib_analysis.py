"""What stdlib_report.py and stdlib_report_threads.py share: everything that is not concurrency.

Nothing here knows of gort, threads or the other module: plain functions that walk, read, parse, pack and
store, which both programs call in ordinary blocking style.
"""

import argparse
import ast
import contextlib
import hashlib
import os
import sqlite3
import sys
import sysconfig
import threading
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TextIO

SKIPPED_FOLDERS = {"__pycache__", "site-packages", "dist-packages"}
# Before 3.11.8 two ast.parse calls under way at once, in any threads, may fail with SystemError.
PARSE_LOCK = threading.Lock() if sys.version_info < (3, 11, 8) else contextlib.nullcontext()
PACK_LEVEL = 9  # zlib's best: the work that is worth doing outside the interpreter

SCHEMA = """
    CREATE TABLE file (path TEXT PRIMARY KEY, lines INT, bytes INT, packed INT, sha256 TEXT, error TEXT);
    CREATE TABLE function (path TEXT, line INT, name TEXT, lines INT);
    CREATE TABLE import (path TEXT, module TEXT, times INT);
    CREATE TABLE run (name TEXT PRIMARY KEY, value REAL);
"""


class Source(NamedTuple):
    """A file as it was read; `path` is relative to the root."""

    path: str
    data: bytes


class Function(NamedTuple):
    """One function or method; `name` is qualified by the classes and functions around it."""

    line: int
    name: str
    lines: int


@dataclass
class Parsed:
    """What the syntax tree of a file says; `error` is empty unless the file is not valid Python."""

    source: Source
    functions: list[Function] = field(default_factory=list)
    imports: Counter[str] = field(default_factory=Counter)
    error: str = ""


class Packed(NamedTuple):
    """A parsed file with its digest and its size after compression."""

    parsed: Parsed
    sha256: str
    size: int


def walk(root: Path, limit: int) -> Iterator[str]:
    """The Python files under `root` in a fixed order, at most `limit` of them (0: all)."""
    count = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - SKIPPED_FOLDERS)
        for name in sorted(files):
            if name.endswith(".py"):
                if 0 < limit <= count:
                    return
                count += 1
                yield os.path.relpath(os.path.join(folder, name), root)


def read(root: Path, path: str) -> Source:
    """Reads one file: a blocking system call."""
    return Source(path, (root / path).read_bytes())


def parse(source: Source) -> Parsed:
    """Finds the functions and the imports of one file: pure computation that holds the GIL."""
    parsed = Parsed(source)
    try:
        with PARSE_LOCK:
            tree = ast.parse(source.data, source.path)
    except (SyntaxError, ValueError) as error:  # the tests of CPython contain invalid files on purpose
        parsed.error = type(error).__name__
        return parsed
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        node, prefix = pending.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                parsed.functions.append(Function(node.lineno, prefix + node.name, lines))
                prefix += node.name + "."
            case ast.ClassDef():
                prefix += node.name + "."
            case ast.Import():
                parsed.imports.update(alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                parsed.imports[module] += 1
        pending.extend((child, prefix) for child in ast.iter_child_nodes(node))
    parsed.functions.sort()
    return parsed


def pack(parsed: Parsed) -> Packed:
    """Hashes and compresses one file: C code that works without the GIL."""
    data = parsed.source.data
    return Packed(parsed, hashlib.sha256(data).hexdigest(), len(zlib.compress(data, PACK_LEVEL)))


class Store:
    """The results in an sqlite3 database, by ordinary blocking calls."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file)
        self._db.executescript(SCHEMA)

    def add(self, packed: Packed) -> None:
        """Stores one file."""
        parsed, (path, data) = packed.parsed, packed.parsed.source
        lines = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
        row = (path, lines, len(data), packed.size, packed.sha256, parsed.error)
        self._db.execute("INSERT INTO file VALUES (?, ?, ?, ?, ?, ?)", row)
        self._db.executemany(
            "INSERT INTO function VALUES (?, ?, ?, ?)", [(path, *f) for f in parsed.functions]
        )
        imports = [(path, module, times) for module, times in parsed.imports.items()]
        self._db.executemany("INSERT INTO import VALUES (?, ?, ?)", imports)

    def close(self, **run: float) -> None:
        """Commits, with figures about the run itself."""
        self._db.executemany("INSERT INTO run VALUES (?, ?)", run.items())
        self._db.commit()
        self._db.close()


def run_figures(file: Path) -> dict[str, float]:
    """The figures given to Store.close()."""
    with sqlite3.connect(file) as db:
        return dict(db.execute("SELECT name, value FROM run"))


def rows(file: Path) -> list[str]:
    """Every stored result as a line of text, in a fixed order: what two runs are compared by."""
    with sqlite3.connect(file) as db:
        return [
            table + " " + " ".join(map(str, row))
            for table in ("file", "function", "import")
            for row in sorted(db.execute(f"SELECT * FROM {table}"))
        ]


def report(file: Path, root: Path) -> str:
    """The readable report of one run."""
    with sqlite3.connect(file) as db:
        files, lines, size, packed, invalid = db.execute(
            "SELECT count(*), total(lines), total(bytes), total(packed), total(error <> '') FROM file"
        ).fetchone()
        functions = db.execute("SELECT count(*) FROM function").fetchone()[0]
        largest = db.execute(
            "SELECT lines, name, path, line FROM function ORDER BY lines DESC, path, line LIMIT 10"
        ).fetchall()
        imported = db.execute(
            "SELECT sum(times), count(*), module FROM import GROUP BY module ORDER BY 1 DESC, module LIMIT 10"
        ).fetchall()
    text = [
        f"Python source under {root}",
        f"  files      {files:>12,.0f}   ({invalid:,.0f} of them no valid Python)",
        f"  lines      {lines:>12,.0f}",
        f"  functions  {functions:>12,.0f}",
        f"  bytes      {size:>12,.0f}",
        f"  compressed {packed:>12,.0f}   ({packed / max(size, 1):.1%})",
        "",
        "Largest functions",
        *(f"  {n:>5,} lines  {name}  {path}:{line}" for n, name, path, line in largest),
        "",
        "Most imported modules",
        *(f"  {n:>5,} times in {among:>5,} files  {module}" for n, among, module in imported),
    ]
    return "\n".join(text)


class Progress:
    """A progress line on standard error: in place on a terminal, otherwise one line every few seconds."""

    INTERVAL = 3.0  # seconds between lines when the output is not a terminal

    def __init__(self, what: str, stream: TextIO = sys.stderr) -> None:
        self._what, self._stream, self._tty = what, stream, stream.isatty()
        self._started = self._printed = time.monotonic()

    def show(self, text: str) -> None:
        """Shows how far the work is; call it as often as you like."""
        now = time.monotonic()
        line = f"{self._what}: {text}, {now - self._started:.1f} s"
        if self._tty:
            self._stream.write(f"\r\x1b[K{line}")
        elif now - self._printed >= self.INTERVAL:
            self._stream.write(line + "\n")
        else:
            return
        self._printed = now
        self._stream.flush()

    def done(self, text: str) -> None:
        """Shows the last state and ends the line."""
        start = "\r\x1b[K" if self._tty else ""
        self._stream.write(f"{start}{self._what}: {text}, {time.monotonic() - self._started:.1f} s\n")
        self._stream.flush()


def os_threads() -> int:
    """How many OS threads this process has now."""
    return len(os.listdir("/proc/self/task"))


@dataclass
class Options:
    """The command line of both programs."""

    root: Path
    limit: int
    timeout: float
    store: Path | None


def options(description: str) -> Options:
    """Parses the command line; prints what is wrong with it and exits with status 2."""
    parser = argparse.ArgumentParser(description=description)
    default = Path(sysconfig.get_path("stdlib"))
    parser.add_argument("--root", type=Path, default=default, help="folder to analyse (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=0, help="analyse at most that many files (default: all)")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds to wait (default: %(default)g)")
    parser.add_argument("--store", type=Path, help="keep the sqlite3 database in this new file")
    args = parser.parse_args()
    if not args.root.is_dir():
        parser.error(f"--root {args.root} is not a folder")
    if args.limit < 0:
        parser.error(f"--limit {args.limit} is negative; 0 means all files")
    if not args.timeout > 0:
        parser.error(f"--timeout {args.timeout:g} is not more than 0 seconds")
    if args.store and args.store.exists():
        parser.error(f"--store {args.store} exists already")
    # Parsing old source warns about escapes such as "\d"; they are the analysed files' own affair.
    warnings.simplefilter("ignore")
    return Options(args.root, args.limit, args.timeout, args.store)
