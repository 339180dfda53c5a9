"""The environment: one table of every variable and every GODEBUG name, read once, at start.

Values are parsed by Go's rules. A malformed value is reported on standard error and changes nothing, except
that a malformed GOTRACEBACK means 0, as in Go. A setting that has no effect in this version is reported too.
Unknown GODEBUG names are ignored, as in Go.
"""

from __future__ import annotations

import os

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NUM_CPU = len(os.sched_getaffinity(0))
"""The number of CPUs that the process could use at start."""


def number(text: str) -> int:
    """The value of decimal digits with an optional minus.

    int() is not used: at its first call CPython makes a table of logarithms, for which the system maps
    200 KiB of the mathematical library, which few small programs need otherwise.
    """
    value = 0
    for digit in text.removeprefix("-"):
        value = 10 * value + ord(digit) - ord("0")
    return -value if text.startswith("-") else value


def _is_integer(text: str, bits: int = 32) -> bool:
    """True for what Go's atoi accepts: decimal digits with an optional minus, of at most `bits` bits."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 100:
        return False
    return -(1 << (bits - 1)) <= number(text) < 1 << (bits - 1)


def _is_positive(text: str) -> bool:
    return _is_integer(text) and number(text) > 0


def _is_rate(text: str) -> bool:
    return _is_integer(text, bits=64) and number(text) >= 0


def _is_percentage(text: str) -> bool:
    return text == "off" or _is_integer(text)


_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
NO_LIMIT = (1 << 63) - 1


def _bytes(text: str) -> int | None:
    """The value of off, or of a number of bytes with one of Go's units; None if the text is neither."""
    if text == "off":
        return NO_LIMIT
    digits = text.rstrip("BKMGTi")
    unit = _UNITS.get(text[len(digits) :])
    if unit is None or not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
        return None
    value = number(digits) * unit
    return value if value <= NO_LIMIT else None


def _is_bytes(text: str) -> bool:
    return _bytes(text) is not None


# The words of GOTRACEBACK: whose frames are shown (0: no goroutine; 1: the program's; 2: those of the runtime
# too), whether those of every goroutine are, and whether the process aborts.
TRACEBACK_WORDS = {
    "none": (0, False, False),
    "single": (1, False, False),
    "all": (1, True, False),
    "system": (2, True, False),
    "crash": (2, True, True),
}
TRACEBACK_LEVELS = "one of " + ", ".join(TRACEBACK_WORDS) + " or a number"


def is_traceback_level(text: str) -> bool:
    """True for the documented values of GOTRACEBACK."""
    return text in TRACEBACK_WORDS or (_is_integer(text, bits=33) and number(text) >= 0)


def _is_race_options(text: str) -> bool:
    return all("=" in field for field in text.split())


def _is_any(text: str) -> bool:
    return True


# What a setting is to gort's heap.
_OF_THE_HEAP = "it has no effect without the heap"
_MODE = "a debug mode, in which the heap is installed"


class Setting:
    """A row of the table: an environment variable, or a name inside GODEBUG."""

    __slots__ = (
        "accepts",
        "built",
        "collector",
        "default",
        "godebug",
        "heap",
        "is_valid",
        "meaning",
        "name",
        "otherwise",
    )

    def __init__(
        self,
        name: str,
        default: str,
        accepts: str,
        is_valid: Callable[[str], bool] | None,
        built: bool,
        meaning: str,
        godebug: bool = False,
        otherwise: str = "",
        heap: str = "",
        collector: bool = False,
    ) -> None:
        self.name = name
        self.default = default
        self.accepts = accepts  # what a good value is, for reports
        self.is_valid = is_valid  # None: always the default, whatever the variable says
        self.built = built  # False: this release reads the setting and does nothing with it
        self.meaning = meaning
        self.godebug = godebug
        self.otherwise = otherwise  # what a malformed value stands for; empty: it changes nothing
        self.heap = heap  # _OF_THE_HEAP, _MODE or, if it is neither, empty
        self.collector = collector  # _core.start_gc() takes it


_INTEGER = "a 32-bit integer"


def _debug(
    name: str,
    meaning: str,
    default: str = "0",
    accepts: str = _INTEGER,
    is_valid: Callable[[str], bool] = _is_integer,
    built: bool = False,
    heap: str = "",
    collector: bool = False,
) -> Setting:
    return Setting(
        name, default, accepts, is_valid, built, meaning, godebug=True, heap=heap, collector=collector
    )


TABLE: tuple[Setting, ...] = (
    Setting(
        "GOGC",
        "100",
        "a 32-bit integer or off",
        _is_percentage,
        True,
        "collect when the heap has grown by this percentage over what was live; off: never",
        heap=_OF_THE_HEAP,
    ),
    Setting(
        "GOMEMLIMIT",
        "off",
        "a number of bytes (with the unit B, KiB, MiB, GiB or TiB, or none) or off",
        _is_bytes,
        True,
        "collect and give memory back more eagerly as the program's memory nears this number of bytes",
        heap=_OF_THE_HEAP,
    ),
    Setting(
        "GOMAXPROCS",
        str(NUM_CPU),
        "a positive 32-bit integer",
        _is_positive,
        True,
        "how many goroutines may execute at once; the default is the number of CPUs",
    ),
    Setting(
        "GORACE",
        "",
        "name=value fields separated by spaces",
        _is_race_options,
        False,
        "options of the race detector",
    ),
    Setting(
        "GOTRACEBACK",
        "single",
        TRACEBACK_LEVELS,
        is_traceback_level,
        True,
        "how much is printed when the program dies; crash: also abort, for a core dump",
        otherwise="0",
    ),
    Setting("GOARCH", _core.GOARCH, "", None, True, "Go's name for the machine that gort was built for"),
    Setting("GOOS", _core.GOOS, "", None, True, "Go's name for the system that gort was built for"),
    Setting("GOPATH", "", "a path", _is_any, True, "shown here; has no other effect"),
    Setting(
        "GOROOT",
        os.path.dirname(os.path.abspath(__file__)),
        "a path",
        _is_any,
        True,
        "what runtime.goroot() returns; the default is the installed tree",
    ),
    Setting(
        "GODEBUG",
        "",
        "name=value fields separated by commas",
        _is_any,
        True,
        "debugging settings: the names that follow",
    ),
    _debug(
        "allocfreetrace",
        "1: a line and a stack for each block allocated and freed",
        built=True,
        heap=_MODE,
    ),
    _debug("clobberfree", "1: freed blocks are filled with 0xdeadbeef", built=True, heap=_MODE),
    _debug(
        "cgocheck",
        "what is checked in the arguments of calls into C: 0 nothing, 1 their types, 2 every word as well",
        default="1",
        built=True,
    ),
    _debug(
        "efence",
        "1: every object on pages of its own, at addresses that are never used again",
        built=True,
        heap=_MODE,
    ),
    _debug(
        "gccheckmark",
        "1: a second, independent mark after each collection",
        built=True,
        heap=_OF_THE_HEAP,
        collector=True,
    ),
    _debug(
        "gcpacertrace",
        "1: the pacer's figures at each collection",
        built=True,
        heap=_OF_THE_HEAP,
        collector=True,
    ),
    _debug("gcshrinkstackoff", "1: goroutine stacks are not shrunk", built=True, collector=True),
    _debug(
        "gcstoptheworld",
        "1: a collection also waits for goroutines that compute in C; 2: and gives memory back in the pause",
        built=True,
        heap=_OF_THE_HEAP,
        collector=True,
    ),
    _debug(
        "gctrace",
        "1: a line for each collection, and when memory is given back",
        built=True,
        heap=_OF_THE_HEAP,
        collector=True,
    ),
    _debug(
        "invalidptr",
        "1: a bad pointer that the collector meets is fatal; 2: each full collection looks for them",
        default="1",
        built=True,
        collector=True,
    ),
    _debug(
        "madvdontneed",
        "0: give memory back with MADV_FREE instead of MADV_DONTNEED",
        default="1",
        built=True,
        heap=_OF_THE_HEAP,
    ),
    _debug(
        "memprofilerate",
        "the initial runtime.mem_profile_rate, in bytes between samples",
        default="524288",
        accepts="a 64-bit integer that is not negative",
        is_valid=_is_rate,
        built=True,
    ),
    _debug("sbrk", "1: an allocator that never frees and never collects", built=True, heap=_MODE),
    _debug("scavenge", "1: idle memory is given back every 10 ms", built=True, heap=_OF_THE_HEAP),
    _debug("scheddetail", "1: schedtrace also describes each processor, thread and goroutine", built=True),
    _debug("schedtrace", "N: a line about the scheduler every N milliseconds", built=True),
    _debug(
        "tracebackancestors",
        "N: tracebacks show where N ancestors of a goroutine were created",
        built=True,
    ),
)

_texts = {setting.name: setting.default for setting in TABLE}


def text(name: str) -> str:
    """The value in force of the setting `name`, in the form of the environment."""
    return _texts[name]


def integer(name: str) -> int:
    """The value in force of a setting that holds an integer."""
    return number(_texts[name])


def heap_modes() -> dict[str, bool]:
    """The debug modes of the heap, by name, and whether each is on."""
    return {setting.name: integer(setting.name) != 0 for setting in TABLE if setting.heap == _MODE}


def collector_settings() -> dict[str, int]:
    """The settings that _core.start_gc() takes, by name."""
    return {setting.name: integer(setting.name) for setting in TABLE if setting.collector}


def gc_percent() -> int:
    """GOGC, in per cent; -1 means off."""
    return -1 if _texts["GOGC"] == "off" else max(integer("GOGC"), -1)


def memory_limit() -> int:
    """GOMEMLIMIT, in bytes; NO_LIMIT means off."""
    limit = _bytes(_texts["GOMEMLIMIT"])
    return NO_LIMIT if limit is None else limit


def _given(environ: Mapping[str, str]) -> Iterator[tuple[Setting, str]]:
    """Every setting that the environment names, in order, with the text given for it."""
    rows = {(setting.godebug, setting.name): setting for setting in TABLE}
    for setting in TABLE:
        # As in Go, a variable that is empty is not set.
        if not setting.godebug and setting.is_valid is not None and environ.get(setting.name):
            yield setting, environ[setting.name]
    for field in environ.get("GODEBUG", "").split(","):
        name, _, value = field.partition("=")
        if (True, name) in rows:
            yield rows[True, name], value


def load(environ: Mapping[str, str]) -> list[str]:
    """Takes the settings from `environ`; returns the reports about them, each of one line."""
    malformed: dict[tuple[Setting, str], None] = {}
    idle: dict[Setting, str] = {}
    for setting, value in _given(environ):
        if setting.is_valid is None or setting.is_valid(value):
            _texts[setting.name] = value
        else:
            malformed[setting, value] = None
            _texts[setting.name] = setting.otherwise or _texts[setting.name]
        if not setting.built:
            idle[setting] = value
    reports = [
        f"gort: {_label(setting)}={value!r} is not {setting.accepts}; using {_texts[setting.name] or 'none'}"
        for setting, value in malformed
    ]
    reports += [
        f"gort: {_label(setting)}={value!r} has no effect in this version of gort"
        for setting, value in idle.items()
    ]
    return reports


def _label(setting: Setting) -> str:
    return f"GODEBUG {setting.name}" if setting.godebug else setting.name


_reports: list[str] = []


def read() -> None:
    """Reads the process's environment."""
    _reports[:] = load(os.environ)


def start(no_heap: str | None) -> None:
    """Writes the reports to standard error. no_heap: why there is no heap; None if there is one."""
    reports = _reports[:]
    if no_heap is not None:
        given = dict(_given(os.environ))
        rows = [
            *(row for row in TABLE if row.heap == _MODE),
            *(row for row in TABLE if row.heap == _OF_THE_HEAP),
        ]
        reports += [
            f"gort: {_label(setting)}={given[setting]!r} has no effect without gort's heap ({no_heap})"
            for setting in rows
            if setting in given
        ]
    if reports:
        report("\n".join(reports))


def report(text: str) -> None:
    """Writes lines to standard error, whatever state sys.stderr is in."""
    _core.write_error(f"{text}\n".encode())
