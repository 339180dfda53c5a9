"""Deep recursion on a goroutine's stack: it works, or it ends in RecursionError, and never in a crash."""

from __future__ import annotations

import ast
import contextlib
import copy
import ctypes
import functools
import gc
import itertools
import json
import marshal
import operator
import os
import pickle
import re
import symtable
import sys
import threading
import types
import warnings
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

import gort
from gort import chan, go
from gort.runtime import gosched
from gort.runtime.debug import set_max_stack
from gort.sync import WaitGroup
from harness import isolate, isolated

# Enough goroutines that none of them can have a large stack.
CROWD = 20_000
DEEP = 100_000


def nested_list(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def nested_dict(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"k": value}
    return value


def nested_tuple(depth: int) -> tuple[Any, ...]:
    value: tuple[Any, ...] = ()
    for _ in range(depth):
        value = (value,)
    return value


class Node:
    def __init__(self, child: Any = None) -> None:
        self.child = child

    def __repr__(self) -> str:
        return f"Node({self.child!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.child == other.child

    def __hash__(self) -> int:
        return hash((self.child,))


def nested_node(depth: int) -> Node:
    node = Node()
    for _ in range(depth):
        node = Node(node)
    return node


class Attribute:
    def __getattr__(self, name: str) -> Any:
        return getattr(self, name + "x")


class Index:
    def __getitem__(self, key: int) -> Any:
        return self[key + 1]


class Number:
    def __add__(self, other: Any) -> Any:
        return operator.add(self, other)

    def __index__(self) -> int:
        return operator.index(self)


def plain(n: int) -> int:
    return plain(n + 1)


def through_sorted(n: int) -> Any:
    return sorted([n, n], key=lambda x: through_sorted(n + 1))


def through_sort_compare(n: int) -> Any:
    return sorted([n, n], key=functools.cmp_to_key(lambda a, b: through_sort_compare(n + 1)))


def through_map(n: int) -> Any:
    return list(map(through_map, [n + 1]))


def through_filter(n: int) -> Any:
    return list(filter(through_filter, [n + 1]))


def through_reduce(n: int) -> Any:
    return functools.reduce(lambda a, b: through_reduce(n + 1), [1, 2])


def through_partial(n: int) -> Any:
    return functools.partial(through_partial, n + 1)()


def through_generator(n: int) -> Any:
    yield from through_generator(n + 1)


def through_re_sub(n: int) -> str:
    return re.sub("a", lambda match: through_re_sub(n + 1), "a")


def through_json_default(n: int) -> str:
    return json.dumps(object(), default=lambda value: through_json_default(n + 1))


def through_exec(n: int) -> Any:
    return eval("through_exec(n + 1)", {"through_exec": through_exec, "n": n})


def through_class_body(n: int) -> Any:
    return type("T", (), {"__init_subclass__": lambda **kw: None, "x": through_class_body(n + 1)})


def through_ctypes(n: int) -> int:
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
    lib = ctypes.CDLL(os.environ["CLIB"])

    @kind
    def callback(depth: int) -> int:
        return depth if depth >= 300 else lib.call(callback, depth + 1)

    return lib.call(callback, n)


def through_descriptor(n: int) -> Any:
    class Owner:
        @property
        def value(self) -> Any:
            return self.value

    return Owner().value


class Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls)


class Checked(metaclass=Meta):
    pass


class Missing(dict[int, Any]):
    def __missing__(self, key: int) -> Any:
        return self[key + 1]


class Formatted:
    def __format__(self, spec: str) -> str:
        return f"{Formatted()}"


class Iterated:
    def __iter__(self) -> Any:
        return iter(Iterated())


class Compared:
    def __eq__(self, other: object) -> bool:
        return Compared() == Compared()


class Deleted:
    """Where the recursion ends is said on standard error, how often depends on the version."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __del__(self) -> None:
        if self.n < 5000:
            Deleted(self.n + 1)


class Base:
    def method(self, n: int) -> Any:
        return self.method(n + 1)


class Derived(Base):
    def method(self, n: int) -> Any:
        return super().method(n + 1)


@contextlib.contextmanager
def context(n: int) -> Any:
    yield n


def through_with(n: int) -> Any:
    with context(n):
        return through_with(n + 1)


def through_exit_stack(n: int) -> Any:
    with contextlib.ExitStack() as stack:
        stack.enter_context(context(n))
        return through_exit_stack(n + 1)


def through_join(n: int) -> str:
    return "".join(through_join(n + 1) for _ in range(1))


def through_bytes(n: int) -> Any:
    return bytes(through_bytes(n + 1) for _ in range(1))


def through_sum(n: int) -> Any:
    return sum(through_sum(n + 1) for _ in range(2))


def through_max(n: int) -> int:
    return max([1, 2], key=lambda _: through_max(n + 1))


def through_metaclass(n: int) -> Any:
    class Made(type):
        def __new__(cls, *args: Any) -> Any:
            return through_metaclass(n + 1)

    return Made("x", (), {})


async def through_await(n: int) -> Any:
    return await through_await(n + 1)


def nested_iterator(depth: int, make: Callable[[Any], Any]) -> list[Any]:
    iterator: Any = iter(())
    for _ in range(depth):
        iterator = make(iterator)
    return list(iterator)


def deep_compile() -> Any:
    def dive(n: int) -> Any:
        return [dive(n - 1)] if n else eval("(" * 199 + "1" + ")" * 199)

    return dive(300)


def over_and_over() -> None:
    """Each recursion finds the stack as the one before did."""
    for _ in range(20):
        for recursion in (through_sorted, through_map, through_with):
            with pytest.raises(RecursionError):
                recursion(0)


def through_tree(n: int) -> int:
    """Recursions that return and begin anew at each depth."""
    return sum(sorted([1, 2], key=lambda x: through_tree(n - 1 if x == 1 else min(n - 1, 2)))) if n else 1


def dictionary_keys() -> Any:
    class Key:
        def __hash__(self) -> int:
            return hash({self: 1})

    return {Key(): 1}


CASES: dict[str, Callable[[], Any]] = {
    "plain": lambda: plain(0),
    "sorted key": lambda: through_sorted(0),
    "sorted cmp": lambda: through_sort_compare(0),
    "map": lambda: through_map(0),
    "filter": lambda: through_filter(0),
    "reduce": lambda: through_reduce(0),
    "partial": lambda: through_partial(0),
    "yield from": lambda: list(through_generator(0)),
    "re.sub": lambda: through_re_sub(0),
    "json default": lambda: through_json_default(0),
    "eval": lambda: through_exec(0),
    "class": lambda: through_class_body(0),
    "property": lambda: through_descriptor(0),
    "ctypes": lambda: through_ctypes(0),
    "getattr": lambda: Attribute().x,
    "getitem": lambda: Index()[0],
    "add": lambda: Number() + 1,
    "index": lambda: [0][Number()],
    "hash": lambda: dictionary_keys(),
    "json.dumps list": lambda: json.dumps(nested_list(DEEP)),
    "json.dumps dict": lambda: json.dumps(nested_dict(DEEP)),
    "json.dumps indent": lambda: json.dumps(nested_list(DEEP), indent=1),
    "json.loads": lambda: json.loads("[" * DEEP + "]" * DEEP),
    "json.loads dict": lambda: json.loads('{"k":' * DEEP + "1" + "}" * DEEP),
    "repr list": lambda: repr(nested_list(DEEP)),
    "repr dict": lambda: repr(nested_dict(DEEP)),
    "repr tuple": lambda: repr(nested_tuple(DEEP)),
    "repr objects": lambda: repr(nested_node(DEEP)),
    "compare lists": lambda: nested_list(DEEP) == nested_list(DEEP),
    "compare objects": lambda: nested_node(DEEP) == nested_node(DEEP),
    "hash tuple": lambda: hash(nested_tuple(DEEP)),
    "hash objects": lambda: hash(nested_node(DEEP)),
    "pickle list": lambda: pickle.dumps(nested_list(DEEP)),
    "pickle objects": lambda: pickle.dumps(nested_node(DEEP)),
    "marshal": lambda: marshal.dumps(nested_list(DEEP)),
    "deepcopy": lambda: copy.deepcopy(nested_list(DEEP)),
    "deepcopy objects": lambda: copy.deepcopy(nested_node(DEEP)),
    "isinstance": lambda: isinstance(1, nested_tuple(DEEP)),
    "union": lambda: functools.reduce(lambda a, b: list[a], range(DEEP), int),  # type: ignore[arg-type,return-value,valid-type]
    "re.compile": lambda: re.compile("(?:" * DEEP + ")" * DEEP),
    "re groups": lambda: re.compile("(" * 5000 + ")" * 5000),
    "re.match": lambda: re.match("(?:ab)*?c", "ab" * 100_000),
    "ast.parse unary": lambda: ast.parse("-" * DEEP + "1"),
    "ast.parse parens": lambda: ast.parse("(" * DEEP + ")" * DEEP),
    "ast.parse lists": lambda: ast.parse("[" * 150 + "]" * 150),
    "compile sum": lambda: compile("1" + "+x" * DEEP, "s", "eval"),
    "compile attributes": lambda: compile("x" + ".y" * DEEP, "s", "eval"),
    "compile lambdas": lambda: compile("lambda: " * 2000 + "1", "s", "eval"),
    "compile blocks": lambda: compile(nested_blocks(95), "s", "exec"),
    "compile fstring": lambda: compile("f'" + "{x}" * 10000 + "'", "s", "eval"),
    "literal_eval": lambda: ast.literal_eval("-" * DEEP + "1"),
    "ast.unparse": lambda: ast.unparse(nested_ast(DEEP)),
    "ast compile": lambda: compile(ast.Expression(nested_ast(DEEP)), "s", "eval"),
    "ElementTree": lambda: ElementTree.fromstring("<a>" * 50_000 + "</a>" * 50_000) is not None,
    "exceptions": lambda: chained_exceptions(),
    "str.format": lambda: f"{nested_node(10).child.child.child}",
    "import hook": lambda: importing(),
    "isinstance hook": lambda: isinstance(1, Checked),
    "missing": lambda: Missing()[0],
    "format": lambda: f"{Formatted()}",
    "iter": lambda: iter(Iterated()),
    "eq": lambda: Compared() == Compared(),
    "del": lambda: Deleted(0),
    "super": lambda: Derived().method(0),
    "with": lambda: through_with(0),
    "ExitStack": lambda: through_exit_stack(0),
    "join": lambda: through_join(0),
    "bytes": lambda: through_bytes(0),
    "sum": lambda: through_sum(0),
    "max": lambda: through_max(0),
    "metaclass": lambda: through_metaclass(0),
    "await": lambda: through_await(0).send(None),
    "map of map": lambda: nested_iterator(500, lambda it: map(id, it)),
    "chain of chain": lambda: nested_iterator(500, itertools.chain),
    "generators": lambda: nested_iterator(800, lambda it: (x for x in it)),
    "over and over": over_and_over,
    "tree": lambda: through_tree(60),
    "eval parens": lambda: eval("(" * 199 + "1" + ")" * 199),
    "exec unary": lambda: exec("x = " + "-" * 5000 + "1"),
    "exec lambdas": lambda: exec("lambda: " * 2500 + "1"),
    "exec elif": lambda: exec("x = 0\nif x: pass\n" + "elif x: pass\n" * 2000),
    "eval ternary": lambda: eval("1 if 1 else " * 1500 + "1"),
    "eval comprehension": lambda: eval("[" * 90 + "1" + " for x in [1]]" * 90),
    "eval in depth": deep_compile,
    "symtable": lambda: symtable.symtable("lambda: " * 2500 + "1", "s", "eval"),
    "marshal.loads": lambda: marshal.loads(marshal.dumps(nested_list(1990))),
}


if sys.version_info >= (3, 12):
    del CASES["eval comprehension"]  # CPython itself crashes (3.12.1, 3.13.0), in any thread


def nested_blocks(depth: int) -> str:
    return "".join("\t" * i + "if x:\n" for i in range(depth)) + "\t" * depth + "pass\n"


def nested_ast(depth: int) -> ast.expr:
    node: ast.expr = ast.Name("x", ast.Load(), lineno=1, col_offset=0)
    for _ in range(depth):
        node = ast.UnaryOp(ast.USub(), node, lineno=1, col_offset=0)
    return node


def chained_exceptions() -> None:
    error: BaseException | None = None
    for i in range(DEEP):
        new = ValueError(i)
        new.__context__ = error
        error = new


def importing() -> None:
    class Finder:
        def find_spec(self, name: str, *args: Any) -> Any:
            return __import__(name + "x")

    finder: Any = Finder()
    sys.meta_path.insert(0, finder)
    try:
        __import__("nothing_of_this_name")
    finally:
        sys.meta_path.remove(finder)


# What these programs may end in; anything else, and above all a crash, is a failure.
ENDS = (RecursionError, MemoryError, SyntaxError, re.error, ImportError, ElementTree.ParseError, ValueError)


def outcome(case: Callable[[], Any]) -> str:
    try:
        case()
    except ENDS as error:
        kind = type(error).__name__
        # Whatever it was, the goroutine is sound afterwards.
        assert json.loads(json.dumps(nested_list(20))) == nested_list(20)
        return kind
    return "works"


def crowd(size: int) -> Callable[[], None]:
    gate, wg = chan(), WaitGroup()
    for _ in range(size):
        wg.go(gate.recv)
    gosched()

    def leave() -> None:
        gate.close()
        wg.wait()

    return leave


def recursion(case: str, others: int) -> None:
    if case == "del":
        sys.unraisablehook = id  # a C function: no Python code could run there
    leave = crowd(others)
    for _ in range(2):
        assert gort.run(outcome, CASES[case])
    gort.run(gc.collect)
    leave()


@pytest.mark.parametrize("case", CASES)
def test_recursion(case: str) -> None:
    isolate(recursion, case, 0).check(stdout="", stderr="")


# The stack of the latest of very many goroutines.
SMALL = 448 << 10
# On 3.11 too deep for it; from 3.12 on as deep as C's own count lets it be.
DEPTH = 230 if sys.version_info < (3, 12) else 30
# Recursion in C alone that nobody counts: it ends at the guard.
UNCOUNTED = {"hash tuple"}


def small_recursion(case: str) -> None:
    set_max_stack(SMALL)
    recursion(case, 50)


@pytest.mark.parametrize("case", CASES)
def test_recursion_on_a_small_stack(case: str) -> None:
    result = isolate(small_recursion, case)
    if case in UNCOUNTED and result.status:
        overflow = "runtime: goroutine stack exceeds 458752-byte limit\nfatal error: stack overflow\n..."
        result.check(status=2, stdout="", stderr=overflow)
    else:
        # ctypes cannot pass on what a callback raises (here RecursionError): it reports it and goes on.
        result.check(stdout="", stderr=None if case == "ctypes" else "")


def eval_hook_is_off() -> bool:
    """CPython evaluates frames itself (PEP 523)."""
    api = ctypes.pythonapi
    api.PyInterpreterState_Get.restype = ctypes.c_void_p
    api._PyInterpreterState_GetEvalFrameFunc.restype = ctypes.c_void_p
    api._PyInterpreterState_GetEvalFrameFunc.argtypes = [ctypes.c_void_p]
    now = api._PyInterpreterState_GetEvalFrameFunc(api.PyInterpreterState_Get())
    return now == ctypes.cast(api._PyEval_EvalFrameDefault, ctypes.c_void_p).value


@isolated()
def test_parks_deep_in_a_recursion() -> None:
    """On whatever stack it is: its frames are as they were left, and nothing is left over at the end."""
    set_max_stack(SMALL)
    wg, gate, results = WaitGroup(), chan(), []

    def dive(n: int, mark: int) -> int:
        if n == 0:
            gate.recv()
            gc.collect(0)
            eval("(" * 100 + "1" + ")" * 100)
            return mark
        deeper: list[int] = []
        sorted([0], key=lambda _: deeper.append(dive(n - 1, mark)) or 0)
        gosched()
        return deeper[0]

    for i in range(60):
        wg.go(lambda i=i: results.append(dive(DEPTH, i)))  # type: ignore[misc]
    gosched()
    pid = os.fork()
    if pid == 0:
        gort.run(lambda: outcome(CASES["sorted key"]))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    gate.close()
    wg.wait()
    assert sorted(results) == list(range(60))
    for _ in range(60):
        wg.go(gosched)
    wg.wait()
    assert eval_hook_is_off()


@isolated()
def test_fork_deep_in_a_recursion() -> None:
    set_max_stack(SMALL)

    def dive(n: int) -> Any:
        if n == 0:
            return os.fork()
        return sorted([0], key=lambda _: pids.append(dive(n - 1)) or 0)

    pids: list[Any] = []

    def body() -> None:
        dive(DEPTH)
        if pids[0] == 0:
            os._exit(0 if outcome(CASES["sorted key"]) == "RecursionError" else 1)
        assert os.waitpid(pids[0], 0)[1] == 0

    gort.run(body)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="C recursion has a limit of its own")
@isolated()
def test_as_deep_as_the_limit_says() -> None:
    """A stack beyond 8 MiB is made of several."""
    set_max_stack(SMALL)
    sys.setrecursionlimit(20_000)
    for _ in range(2):
        assert gort.run(depth_of_sorted, 6000) == 6000
    sys.setrecursionlimit(1000)
    with pytest.raises(RecursionError):
        gort.run(depth_of_sorted, 6000)
    gort.run(gosched)
    assert eval_hook_is_off()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="one limit for Python and C")
@isolated()
def test_the_first_goroutines_are_as_deep_as_a_thread() -> None:
    """C recursion ends where it ends in a thread, also the hungriest, which overflows a thread."""

    def deepest(call: Callable[[Callable[[], Any]], Any]) -> int:
        depth = 0

        def deeper() -> None:
            nonlocal depth
            depth += 1
            call(deeper)

        with pytest.raises(RecursionError):
            deeper()
        return depth

    def cached(function: Callable[[], Any]) -> Any:
        return functools.lru_cache(function)()

    def ordered(function: Callable[[], Any]) -> Any:
        return sorted([0], key=lambda _: function())

    sys.setrecursionlimit(100_000)
    mine, threads = gort.run(deepest, cached), deepest(cached)
    # by what was called before; from 3.14 on by the stacks' sizes, of which guards and the like are a part
    assert abs(mine - threads) < (10 if sys.version_info < (3, 14) else threads // 20), (mine, threads)
    assert gort.run(deepest, ordered) > 300


def burn(depth: int) -> None:
    set_max_stack(SMALL)
    lib = ctypes.CDLL(os.environ["CLIB"])

    def dive(n: int) -> None:
        sorted([0], key=lambda _: (dive(n - 1) or 0) if n else lib.burn_all(0))

    gort.run(dive, depth)


@pytest.mark.parametrize("depth", [0, DEPTH])
def test_overflow_of_a_small_stack(depth: int) -> None:
    size = "458752" if depth < 200 else "..."
    isolate(burn, depth).check(
        status=2,
        stdout="",
        stderr=f"runtime: goroutine stack exceeds {size}-byte limit\nfatal error: stack overflow\n...",
    )


@isolated()
def test_greenlets_and_deep_recursion() -> None:
    """Greenlets share one stack: they get no other, and cannot be made on another."""
    greenlet = pytest.importorskip("greenlet").greenlet
    set_max_stack(SMALL)

    def body() -> None:
        def child() -> str:
            for name in ("sorted key", "property", "map", "with"):
                assert outcome(CASES[name]) == "RecursionError"
                gosched()
            return "done"

        assert greenlet(child).switch() == "done"

    for _ in range(3):
        gort.run(body)

    def compiling() -> str:
        def use(*args: Any, **kwargs: Any) -> None:
            greenlet(print)

        warnings.showwarning = use
        warnings.simplefilter("always")
        with pytest.raises(gort.runtime.Error, match="greenlets cannot be used in compile"):
            compile("1 is 1", "s", "eval")
        return "refused"

    assert gort.run(compiling) == "refused"


@pytest.mark.parametrize("place", ["main", "thread"])
@isolated(timeout=90)
def test_recursion_elsewhere(place: str) -> None:
    """Main and plain threads have the stack and the limits that CPython gave them."""

    def body() -> None:
        for name in ("plain", "sorted key", "repr list", "json.dumps list", "compile sum"):
            assert outcome(CASES[name])

    if place == "main":
        body()
    else:
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()


NESTS: dict[str, Callable[[], Any]] = {
    "json": lambda: json.loads(json.dumps(nested_list(100))) == nested_list(100),
    "json dict": lambda: json.loads(json.dumps(nested_dict(100))) == nested_dict(100),
    "repr": lambda: len(repr(nested_list(100))) == 202,
    "repr objects": lambda: len(repr(nested_node(100))) > 100,
    "pickle": lambda: pickle.loads(pickle.dumps(nested_list(100))) == nested_list(100),
    "pickle objects": lambda: pickle.loads(pickle.dumps(nested_node(100))) == nested_node(100),
    "deepcopy": lambda: copy.deepcopy(nested_node(50)) == nested_node(50),
    "marshal": lambda: marshal.loads(marshal.dumps(nested_list(100))) == nested_list(100),
    "ast": lambda: ast.literal_eval("[" * 90 + "]" * 90) == nested_list(89),
    "compile": lambda: eval("+".join(["1"] * 100)) == 100,
    "blocks": lambda: compile(nested_blocks(95), "s", "exec") is not None,
    "re": lambda: re.compile("(?:" * 60 + "a" + ")" * 60).match("a") is not None,
    "sorted": lambda: depth_of_sorted(50) == 50,
}


def depth_of_sorted(n: int) -> int:
    deeper: list[int] = []
    if n:
        sorted([0], key=lambda _: deeper.append(depth_of_sorted(n - 1)) or 0)
    return 1 + deeper[0] if deeper else 0


@pytest.mark.parametrize("nest", NESTS)
@isolated()
def test_nests_of_100_levels_work_in_a_crowd(nest: str) -> None:
    """Ordinary data is not a deep recursion: it has to work however many goroutines there are."""
    leave = crowd(CROWD)
    results, wg = [], WaitGroup()
    for _ in range(20):
        wg.go(lambda: results.append((gosched(), NESTS[nest](), gosched())[1]))
    wg.wait()
    assert results == [True] * 20
    leave()


@isolated()
def test_pure_python_recursion_to_the_limit() -> None:
    def dive(n: int) -> int:
        return 0 if n == 0 else 1 + dive(n - 1)

    def body() -> None:
        assert dive(sys.getrecursionlimit() - 100) == sys.getrecursionlimit() - 100
        with pytest.raises(RecursionError):
            dive(sys.getrecursionlimit() + 1)
        gosched()
        assert dive(sys.getrecursionlimit() - 100) == sys.getrecursionlimit() - 100

    for _ in range(3):
        gort.run(body)
    body()
    wg = WaitGroup()
    for _ in range(100):
        wg.go(body)
    wg.wait()


@isolated()
def test_raised_limit() -> None:
    """sys.setrecursionlimit holds in goroutines that run already and in new ones."""
    gate, results = chan(), chan()

    def dive(n: int) -> int:
        return 0 if n == 0 else 1 + dive(n - 1)

    def early() -> None:
        gate.recv()
        results.send(dive(30_000))

    go(early)
    gosched()
    sys.setrecursionlimit(50_000)
    gate.close()
    assert results.recv() == 30_000
    assert gort.run(dive, 40_000) == 40_000
    assert dive(40_000) == 40_000
    sys.setrecursionlimit(1000)
    for _ in range(5):
        with pytest.raises(RecursionError):
            gort.run(dive, 40_000)


@isolated()
def test_limit_is_per_goroutine() -> None:
    """Many goroutines parked deep: each has its whole limit, however deep the others are."""
    gate, wg, depths = chan(), WaitGroup(), []

    def dive(n: int) -> int:
        if n == 0:
            gate.recv()
            return 0
        return 1 + dive(n - 1)

    for _ in range(200):
        wg.go(lambda: depths.append(dive(800)))
    gate.close()
    wg.wait()
    assert depths == [800] * 200


@pytest.mark.parametrize("others", [0, CROWD])
@isolated()
def test_deep_deallocation(others: int) -> None:
    """Freeing a structure of a million levels uses CPython's trashcan where there is one, not the stack."""
    leave = crowd(others)

    def body() -> None:
        nested_list(1_000_000)
        nested_tuple(1_000_000)
        nested_dict(200_000)
        nested_node(200_000)
        error: Any = None
        for i in range(100_000):
            error, previous = ValueError(i), error
            error.__context__ = previous
        # These have none.
        generator: Any = iter(())
        for _ in range(1000):
            generator = (x for x in generator)
        method: Any = None
        for _ in range(1000):
            method = types.MethodType(print, method or 1)
        iterator: Any = iter([])
        for _ in range(1000):
            iterator = map(id, iterator)
        linked: Any = None
        for _ in range(1000):
            linked = functools.partial(print, linked)

    gort.run(body)
    leave()


@isolated()
def test_deallocation_that_parks_in_the_trashcan() -> None:
    """Finalizers that switch while CPython is unwinding a deep structure mix nothing up."""
    count = [0]

    class Noisy:
        def __init__(self, child: Any) -> None:
            self.child = child

        def __del__(self) -> None:
            count[0] += 1
            if count[0] % 7 == 0:
                gosched()

    def body() -> None:
        value: Any = None
        for _ in range(500):
            value = [Noisy(value)]

    wg = WaitGroup()
    for _ in range(30):
        wg.go(body)
    wg.wait()
    gc.collect()
    assert count[0] == 30 * 500


@isolated()
def test_recursion_errors_do_not_use_the_stack_up() -> None:
    def body() -> None:
        for name in ("sorted key", "map", "repr list", "json.dumps list"):
            outcome(CASES[name])

    wg = WaitGroup()
    for _ in range(10):
        wg.go(body)
    wg.wait()


@isolated()
def test_c_stack_in_reserve() -> None:
    """C code beside Python's counters: 64 KiB of C stack are there for every goroutine of a few."""
    lib = ctypes.CDLL(os.environ["CLIB"])
    lib.burn_stack.argtypes = [ctypes.c_long]
    wg = WaitGroup()
    for _ in range(50):
        wg.go(lib.burn_stack, 64 * 1024)
    wg.wait()
