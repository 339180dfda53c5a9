"""C function pointers, as runtime.set_cgo_traceback takes them."""

import sys
from typing import Any

from . import _core

_kept: list[object] = []  # ctypes and cffi free what they made when its Python object goes


def set_traceback(version: int, traceback: Any, context: Any, symbolizer: Any) -> None:
    """See runtime.set_cgo_traceback."""
    if not isinstance(version, int):
        raise TypeError(f"set_cgo_traceback: the version must be an int, not {version!r}")
    if version != 0:
        raise ValueError(f"set_cgo_traceback: the version must be 0, not {version!r}")
    functions = {"traceback": traceback, "context": context, "symbolizer": symbolizer}
    _core.cgo_set_traceback(*(_address(name, value) for name, value in functions.items()))
    _kept.extend(functions.values())


def _address(name: str, value: Any) -> int:
    if value is None:
        return 0
    address = _address_of(value)
    if address is None:
        raise TypeError(
            f"set_cgo_traceback: {name} must be an address, a function pointer of ctypes or cffi, or "
            f"None, not {value!r}"
        )
    if address and not _is_code(address):
        raise ValueError(f"set_cgo_traceback: {name} is {value!r}, which is not an address of code")
    if address and _is_python(value):
        raise ValueError(f"set_cgo_traceback: {name} is {value!r}, which calls Python; it must be C code")
    return address


def _address_of(value: Any) -> int | None:
    """The address that `value` stands for; None if it is not a pointer."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if "ctypes" in sys.modules:
        import ctypes

        if isinstance(value, (ctypes._CFuncPtr, ctypes.c_void_p)):  # type: ignore[attr-defined]
            return ctypes.cast(value, ctypes.c_void_p).value or 0
    cffi = sys.modules.get("_cffi_backend")
    if cffi is not None:
        try:
            if cffi.typeof(value).kind in ("function", "pointer"):
                return int(cffi.cast(cffi.new_primitive_type("uintptr_t"), value))
        except TypeError:
            pass
    return None


def _is_python(value: Any) -> bool:
    """Whether value is a function pointer that ctypes made from a Python function."""
    made_of = getattr(value, "_objects", None)
    return isinstance(made_of, dict) and any(type(one).__name__ == "CThunkObject" for one in made_of.values())


def _is_code(address: int) -> bool:
    """Whether there is executable memory at the address."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            bounds, mode, *_ = line.split()
            low, high = (int(bound, 16) for bound in bounds.split("-"))
            if low <= address < high:
                return "x" in mode
    return False
