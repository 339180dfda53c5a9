"""Reads what runtime.debug.write_heap_dump() writes: `python -m gort.heapdump [-n ROWS] FILE`.

`records()` yields the records of a dump in order; `read()` checks all of it and keeps the figures.
The format is described in docs/internals/heapdump.md.
"""

import argparse
import bisect
import mmap
import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from . import _core

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap
HEADER = b"go1.7 heap dump\n"


class DumpError(ValueError):
    """Raised for a file that is not a heap dump, or not a complete one."""


# -- records -----------------------------------------------------------------------------------


class Object(NamedTuple):
    """An allocated block of the heap: its contents and the offsets of its words that point into the heap."""

    address: int
    contents: bytes
    pointers: tuple[int, ...]


class ObjectType(NamedTuple):
    """The block before this record holds a Python object, which begins at `offset`."""

    address: int  # of the block
    offset: int
    type: int  # the address of a Type
    certain: bool  # known from the collector; else seen by its head


class Type(NamedTuple):
    address: int
    size: int  # tp_basicsize
    name: str
    pointer: bool


class Root(NamedTuple):
    """A reference from outside the heap into it."""

    description: str
    pointer: int


class Goroutine(NamedTuple):
    """A goroutine; a thread if goid is 0."""

    address: int
    frame: int  # the address of its innermost frame; 0: none
    goid: int
    created_at: int  # the PC of its go(); 0: main
    status: int  # 1 runnable, 3 in C code or without the GIL, 4 waiting
    system: bool
    background: bool
    wait_since: int  # in nanoseconds since 1970
    wait_reason: str
    context: int
    thread: int  # the address of an OSThread; 0: none
    defer: int
    panic: int


class Frame(NamedTuple):
    """A Python frame of the goroutine before this record; the innermost one comes first."""

    address: int
    depth: int
    child: int  # the address of the frame that it called; 0: none
    contents: bytes
    entry: int
    pc: int
    continuation: int
    name: str
    pointers: tuple[int, ...]


class Params(NamedTuple):
    big_endian: bool
    pointer_size: int
    heap_start: int
    heap_end: int
    arch: str
    python: str  # such as cpython3.13.0: the layout of objects depends on it
    num_cpu: int


class Finalizer(NamedTuple):
    """A finalizer that is set, or one that waits to run because nothing refers to its object any more."""

    object: int  # the address of its block; of what is outside the heap its own
    function: int  # likewise
    entry: int  # the function's entry PC; 0: it is not a Python function
    argument_type: int  # object's
    type: int
    waiting: bool


class OSThread(NamedTuple):
    address: int
    id: int
    native_id: int


class MemStats(NamedTuple):
    """The first 26 fields of runtime.MemStats."""

    alloc: int
    total_alloc: int
    sys: int
    lookups: int
    mallocs: int
    frees: int
    heap_alloc: int
    heap_sys: int
    heap_idle: int
    heap_inuse: int
    heap_released: int
    heap_objects: int
    stack_inuse: int
    stack_sys: int
    mspan_inuse: int
    mspan_sys: int
    mcache_inuse: int
    mcache_sys: int
    buck_hash_sys: int
    gc_sys: int
    other_sys: int
    next_gc: int
    last_gc: int
    pause_total_ns: int
    pause_ns: tuple[int, ...]
    num_gc: int


Record: TypeAlias = (
    Object | ObjectType | Type | Root | Goroutine | Frame | Params | Finalizer | OSThread | MemStats
)


class _Reader:
    """Reads Go's primitives from bytes."""

    def __init__(self, data: Buffer) -> None:
        self.data = memoryview(data).cast("B")
        self.at = 0

    def uvarint(self) -> int:
        value = shift = 0
        start = self.at
        while True:
            try:
                byte = self.data[self.at]
            except IndexError:
                raise DumpError(f"the file ends within a record, after {len(self.data)} bytes") from None
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    raise DumpError(f"the number at byte {start} has more than 64 bits")
                return value
            shift += 7
            if shift > 63:
                raise DumpError(f"the number at byte {start} has more than 64 bits")

    def bool(self) -> bool:
        start, value = self.at, self.uvarint()
        if value > 1:
            raise DumpError(f"the flag at byte {start} is {value}, not 0 or 1")
        return bool(value)

    def bytes(self) -> bytes:
        size = self.uvarint()
        if size > len(self.data) - self.at:
            raise DumpError(f"the file ends within a record, after {len(self.data)} bytes")
        self.at += size
        return bytes(self.data[self.at - size : self.at])

    def str(self) -> str:
        start = self.at
        try:
            return self.bytes().decode()
        except UnicodeDecodeError:
            raise DumpError(f"the text at byte {start} is not UTF-8") from None

    def fields(self, size: int) -> tuple[int, ...]:
        found: list[int] = []
        start = self.at
        while kind := self.uvarint():
            offset = self.uvarint()
            if kind != 1 or offset % 8 or offset + 8 > size or (found and offset <= found[-1]):
                raise DumpError(f"the list of fields at byte {start} has a field {offset} of kind {kind}")
            found.append(offset)
        return tuple(found)


def _object(r: _Reader) -> Object:
    address, contents = r.uvarint(), r.bytes()
    return Object(address, contents, r.fields(len(contents)))


def _frame(r: _Reader) -> Frame:
    address, depth, child, contents = r.uvarint(), r.uvarint(), r.uvarint(), r.bytes()
    pcs = r.uvarint(), r.uvarint(), r.uvarint()
    return Frame(address, depth, child, contents, *pcs, r.str(), r.fields(len(contents)))


def _goroutine(r: _Reader) -> Goroutine:
    address, frame, goid, created, status = (r.uvarint() for _ in range(5))
    system, background, since, reason = r.bool(), r.bool(), r.uvarint(), r.str()
    last = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
    return Goroutine(address, frame, goid, created, status, system, background, since, reason, *last)


def _finalizer(r: _Reader, waiting: bool) -> Finalizer:
    return Finalizer(r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint(), waiting)


def _mem_stats(r: _Reader) -> MemStats:
    figures: dict[str, Any] = {
        name: r.uvarint() if n == 1 else tuple(r.uvarint() for _ in range(n))
        for name, n in _core.mem_stats_dumped()
    }
    return MemStats(**figures)


_KINDS: dict[int, Callable[[_Reader], Record]] = {
    1: _object,
    2: lambda r: Root(r.str(), r.uvarint()),
    3: lambda r: Type(r.uvarint(), r.uvarint(), r.str(), r.bool()),
    4: _goroutine,
    5: _frame,
    6: lambda r: Params(r.bool(), r.uvarint(), r.uvarint(), r.uvarint(), r.str(), r.str(), r.uvarint()),
    7: lambda r: _finalizer(r, False),
    9: lambda r: OSThread(r.uvarint(), r.uvarint(), r.uvarint()),
    10: _mem_stats,
    11: lambda r: _finalizer(r, True),
    64: lambda r: ObjectType(r.uvarint(), r.uvarint(), r.uvarint(), r.bool()),
}


def records(data: Buffer) -> Iterator[Record]:
    """Yields the records of a dump in order. Raises DumpError where the dump is damaged."""
    reader = _Reader(data)
    if reader.data[: len(HEADER)] != HEADER:
        raise DumpError(f"the file does not begin with {HEADER.decode()!r}")
    reader.at = len(HEADER)
    while True:
        start = reader.at
        kind = reader.uvarint()
        if kind == 0:
            break
        if kind not in _KINDS:
            raise DumpError(f"the record at byte {start} has the unknown kind {kind}")
        yield _KINDS[kind](reader)
    if reader.at < len(reader.data):
        raise DumpError(f"{len(reader.data) - reader.at} bytes follow the end of the dump")


# -- the whole ---------------------------------------------------------------------------------


class _Blocks:
    """The blocks of a dump, and the pointers to them."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.addresses, self.sizes, self.pointers = array("Q"), array("Q"), array("Q")

    def add(self, block: Object) -> None:
        if not self.start <= block.address <= self.end - len(block.contents):
            raise DumpError(f"the block at {block.address:#x} is outside the heap")
        self.addresses.append(block.address)
        self.sizes.append(len(block.contents))
        self.refer(block)

    def refer(self, where: Object | Frame) -> None:
        for at in where.pointers:
            self.pointers.append(int.from_bytes(where.contents[at : at + 8], "little"))

    def check(self, stats: MemStats) -> None:
        for what, here, figure in (
            ("objects", len(self.sizes), stats.heap_objects),
            ("bytes of objects", sum(self.sizes), stats.heap_alloc),
        ):
            if here != figure:
                raise DumpError(f"the dump holds {here} {what}; its own figures say {figure}")
        order = sorted(range(len(self.sizes)), key=self.addresses.__getitem__)
        lows = [self.addresses[i] for i in order]
        highs = [self.addresses[i] + self.sizes[i] for i in order]
        for high, low in zip(highs, lows[1:], strict=False):
            if high > low:
                raise DumpError(f"the block at {low:#x} lies within another one")
        for pointer in set(self.pointers):
            i = bisect.bisect_right(lows, pointer) - 1
            if i < 0 or pointer >= highs[i]:
                raise DumpError(f"the pointer {pointer:#x} leads to no block")


@dataclass
class Count:
    objects: int = 0
    bytes: int = 0


@dataclass
class Dump:
    """What a dump holds, with its objects as counts."""

    params: Params
    mem_stats: MemStats
    by_type: defaultdict[str, Count]  # "": memory that is not a Python object
    by_size: defaultdict[int, Count]
    certain: int  # objects whose types the collector knows
    guessed: int
    goroutines: list[tuple[Goroutine, list[Frame]]]
    threads: list[OSThread]
    roots: Counter[str]
    finalizers: Counter[str]  # by the type of the object; those that are set
    waiting: Counter[str]  # those that wait to run


def read(data: Buffer) -> Dump:
    """Reads a dump and checks that it is complete and consistent. Raises DumpError if it is not."""
    stream = records(data)
    params = next(stream, None)
    if not isinstance(params, Params):
        raise DumpError("the dump does not begin with its parameters")
    if params.big_endian or params.pointer_size != 8:
        raise DumpError("the dump comes from a machine that is not 64-bit little-endian")
    blocks = _Blocks(params.heap_start, params.heap_end)
    types: dict[int, str] = {}
    goroutines: list[tuple[Goroutine, list[Frame]]] = []
    threads: list[OSThread] = []
    roots: Counter[str] = Counter()
    finalizers: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    stats: MemStats | None = None
    by_type: defaultdict[str, Count] = defaultdict(Count)
    by_size: defaultdict[int, Count] = defaultdict(Count)
    typed = [0, 0]
    before: Record = params
    for record in stream:
        if isinstance(before, Object):  # now it is known whether it has a type
            name = ""
            if isinstance(record, ObjectType):
                if record.type not in types:
                    raise DumpError(f"the object in {record.address:#x} is of an unknown type")
                name = types[record.type]
            for count in (by_type[name], by_size[len(before.contents)]):
                count.objects += 1
                count.bytes += len(before.contents)
        match record:
            case Object():
                blocks.add(record)
            case ObjectType():
                if not isinstance(before, Object):
                    raise DumpError(f"the type of {record.address:#x} has no block before it")
                if record.address != before.address or record.offset + 16 > len(before.contents):
                    raise DumpError(f"the type of {record.address:#x} does not fit the block before it")
                typed[record.certain] += 1
            case Type():
                types[record.address] = record.name
            case Goroutine():
                goroutines.append((record, []))
            case Frame():
                frames = goroutines[-1][1] if goroutines else None
                if frames is None or record.depth != len(frames):
                    raise DumpError(f"the frame at {record.address:#x} belongs to no goroutine")
                frames.append(record)
                blocks.refer(record)
            case Root():
                roots[record.description] += 1
                blocks.pointers.append(record.pointer)
            case Finalizer():
                if record.argument_type not in types:
                    raise DumpError(f"the finalizer of {record.object:#x} takes an object of an unknown type")
                name = types.get(record.type, "?")  # outside the heap the object and its class may be gone
                (waiting if record.waiting else finalizers)[name] += 1
            case OSThread():
                threads.append(record)
            case MemStats():
                if stats:
                    raise DumpError("the dump has the allocator's figures twice")
                stats = record
            case Params():
                raise DumpError("the dump has its parameters twice")
        before = record
    if stats is None:
        raise DumpError("the dump lacks the allocator's figures")
    blocks.check(stats)
    counts = by_type, by_size, typed[1], typed[0]
    return Dump(params, stats, *counts, goroutines, threads, roots, finalizers, waiting)


# -- the command -------------------------------------------------------------------------------

_STATUS = {0: "idle", 1: "runnable", 2: "running", 3: "syscall", 4: "waiting"}


def _counts(counts: Counter[str], rows: int) -> list[str]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"{n:10}  {text}" for text, n in ordered[:rows]]


def summary(dump: Dump, rows: int) -> str:
    """A description of a dump, in words and in tables of at most `rows` rows."""
    p, m = dump.params, dump.mem_stats
    lines = [
        f"heap dump of {p.python} on {p.arch}, {p.num_cpu} CPUs",
        f"{m.heap_objects} blocks, {m.heap_alloc} bytes between {p.heap_start:#x} and {p.heap_end:#x}",
        f"{dump.certain} objects that the collector knows, {dump.guessed} by their heads; the rest is memory",
    ]
    by_type = {name or "(memory)": count for name, count in dump.by_type.items()}
    by_size = {str(size): count for size, count in dump.by_size.items()}
    for title, table in (("TYPE", by_type), ("BLOCK SIZE", by_size)):
        lines += ["", f"{'BLOCKS':>10} {'BYTES':>12}  {title}"]
        ordered = sorted(table.items(), key=lambda item: (-item[1].bytes, item[0]))
        lines += [f"{count.objects:10} {count.bytes:12}  {name}" for name, count in ordered[:rows]]
        if rest := [count for _, count in ordered[rows:]]:
            total = sum(count.objects for count in rest), sum(count.bytes for count in rest)
            lines.append(f"{total[0]:10} {total[1]:12}  ({len(rest)} more)")
    lines.append("")
    for g, frames in dump.goroutines:
        who = f"goroutine {g.goid}" if g.goid else "thread"
        why = g.wait_reason if g.status == 4 else _STATUS.get(g.status, str(g.status))
        lines.append(f"{who} [{why}]: {frames[0].name if frames else 'no Python code'}, {len(frames)} frames")
    lines += [f"{len(dump.threads)} threads run goroutines", "", "references from outside the heap:"]
    lines += _counts(dump.roots, rows)
    for title, counts in (("are set", dump.finalizers), ("wait to run", dump.waiting)):
        lines += ["", f"finalizers that {title}: {counts.total()}"]
        lines += _counts(counts, rows)
    lines.append("")
    lines += [f"{name:16} {value}" for name, value in m._asdict().items() if name != "pause_ns"]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m gort.heapdump", description="Checks a heap dump and shows what it holds."
    )
    parser.add_argument(
        "-n", dest="rows", metavar="ROWS", type=int, default=20, help="rows of each table (default: 20)"
    )
    parser.add_argument("file", metavar="FILE")
    arguments = parser.parse_args()
    try:
        with open(arguments.file, "rb") as file:
            size = file.seek(0, 2)
            data: Buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except (OSError, ValueError) as error:
        print(f"gort.heapdump: {error}", file=sys.stderr)
        return 2
    try:
        dump = read(data)
    except DumpError as error:
        print(f"gort.heapdump: {arguments.file}: {error}", file=sys.stderr)
        return 1
    print(summary(dump, arguments.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
