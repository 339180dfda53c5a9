"""Subpackages that are imported when they are first used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def subpackages(package: str, *names: str) -> Callable[[str], ModuleType]:
    """A `__getattr__` for the module `package` that imports these submodules when they are first used."""

    def get(name: str) -> ModuleType:
        if name in names:
            from importlib import import_module

            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
