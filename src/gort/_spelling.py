"""Go's own spelling of Python names: `runtime.NumGoroutine` is `runtime.num_goroutine`."""

from types import ModuleType
from typing import Any


def snake_case(name: str) -> str:
    """Python's spelling of Go's name: NumCPU -> num_cpu, LockOSThread -> lock_os_thread, GOROOT -> goroot.

    A word begins at a capital that follows a small letter or a digit, and at the last capital of a run
    that a small letter ends.
    """
    words = []
    for i, letter in enumerate(name):
        if i > 0 and letter.isupper():
            before, after = name[i - 1], name[i + 1 : i + 2]
            if not before.isupper() or after.islower():
                words.append("_")
        words.append(letter.lower())
    return "".join(words)


class GoModule(ModuleType):
    """A module that also answers to Go's spelling, when a name is read and when it is assigned.

    `_INDEX` in the module lists the names in Go's documentation, so that an error can tell a name that is not
    built yet from one that does not exist.
    """

    _INDEX: tuple[str, ...] = ()

    def _is_documented(self, name: str) -> bool:
        return any(name in (entry, snake_case(entry)) for entry in self._INDEX)

    def _holds(self, name: str) -> bool:
        """True if the module, or a property of its class, has this very name."""
        return name in self.__dict__ or any(name in vars(cls) for cls in type(self).__mro__)

    def _resolve(self, name: str) -> str:
        """The name under which the module has what `name` means."""
        if name[:1].isupper() and not self._holds(name):
            python_name = snake_case(name)
            if self._holds(python_name):
                return python_name
        return name

    def __getattr__(self, name: str) -> Any:
        python_name = self._resolve(name)
        if python_name != name:
            return getattr(self, python_name)
        why = ": not built yet" if self._is_documented(name) else ""
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}{why}")

    def __setattr__(self, name: str, value: object) -> None:
        python_name = self._resolve(name)
        if not self._holds(python_name) and self._is_documented(name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}: not built yet")
        super().__setattr__(python_name, value)

    def __dir__(self) -> list[str]:
        go_spellings = (entry for entry in self._INDEX if self._resolve(entry) != entry)
        return sorted({*super().__dir__(), *go_spellings})
