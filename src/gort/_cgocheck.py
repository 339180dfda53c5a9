"""What GODEBUG=cgocheck checks in the arguments of calls into C.

C code may be given a Python object (ctypes.py_object), and memory. Memory that holds pointers to Python
objects is refused, as Go refuses memory that holds Go pointers: nothing keeps those objects alive if C code
stores the pointer.

Level 1 goes by types: it refuses a py_object field that is not NULL, at any depth of structures, arrays and
typed pointers, and a buffer whose elements are objects. Level 2 also looks at every aligned word of that
memory, whatever its type, and of bytes, other buffers and cffi's memory; cgo_check.c says what it takes for a
pointer to an object. Neither level knows the memory behind a void pointer or an address given as a number.
"""

import re
import sys
from collections.abc import Iterator
from typing import Any

from . import _core, _cpython, _env

LEVEL = {0: 0, 2: 2}.get(min(_env.integer("cgocheck"), 2), 1)

POINTER_FREE: set[type] = {bytes, bytearray, str}
"""Types whose data, in an argument or in what it points to, leads to no object, as level 1 has found out.
The core looks here first."""

Region = Any  # what _core.cgo_holds_objects takes: a pair of an address and a size, or a buffer

MAX_DEPTH = 10
"""How many steps of _as_parameter_ are followed."""


def check(argument: Any, nth: int) -> None:
    """Raises runtime.Error if the nth argument leads to a pointer to an object."""
    regions: list[Region] = []
    if _leads_to_object(argument, regions) or (LEVEL == 2 and _core.cgo_holds_objects(regions)):
        error = _core.Error("cgo argument has Go pointer to Go pointer")
        error.add_note(f"It is argument {nth} of the C function, of type {type(argument).__qualname__}.")
        raise error


def _leads_to_object(argument: Any, regions: list[Region]) -> bool:
    """The check of level 1. Adds the memory that it has seen to `regions`, for level 2."""
    ctypes = sys.modules.get("ctypes")
    for _ in range(MAX_DEPTH):
        if ctypes is not None:
            # Its private base class of all data types.
            if isinstance(argument, ctypes._SimpleCData.__mro__[1]):
                return _ctypes_leads(ctypes, type(argument), ctypes.addressof(argument), True, regions)
            if isinstance(argument, type(ctypes.byref(ctypes.c_int()))):
                target = _cpython.byref_target(argument)
                return _ctypes_leads(ctypes, type(target), ctypes.addressof(target), False, regions)
        if _core.cgo_is_function(argument):
            memory = _cffi_memory(argument)
            if memory is not None:
                regions.append(memory)
            return False
        if not hasattr(argument, "_as_parameter_"):
            break
        argument = argument._as_parameter_
    try:
        view = memoryview(argument)
    except (TypeError, ValueError, BufferError):
        return False
    regions.append(argument)
    # Names of fields stand between colons.
    return "O" in re.sub(":[^:]*:", "", view.format) and any(view.tobytes())


def _cffi_memory(cdata: Any) -> Region | None:
    """The memory behind cffi data, as a buffer; None if cffi does not know it."""
    try:
        ffi = sys.modules["_cffi_backend"].FFI()
        if ffi.typeof(cdata).kind in ("struct", "union"):
            cdata = ffi.addressof(cdata)
        return ffi.buffer(cdata)
    except (KeyError, TypeError, ValueError):
        return None


def _ctypes_leads(ctypes: Any, kind: Any, address: int, is_value: bool, regions: list[Region]) -> bool:
    """Whether ctypes data, an argument itself or what it points to, leads to an object."""
    possible, complete = _may_lead(ctypes, kind)
    if is_value and issubclass(kind, ctypes.py_object):
        return False  # the object itself
    if not possible and complete:
        if len(POINTER_FREE) > 4096:
            POINTER_FREE.clear()  # a program that makes types without end
        POINTER_FREE.add(kind)
        if LEVEL == 1:
            return False
    if not (is_value and issubclass(kind, (ctypes._SimpleCData, ctypes._Pointer, ctypes._CFuncPtr))):
        regions.append((address, ctypes.sizeof(kind)))
    seen: set[tuple[Any, int]] = set()
    pending = [(kind, address)]
    while pending:
        kind, address = pending.pop()
        if issubclass(kind, ctypes._SimpleCData):
            if kind._type_ == "O" and _core.cgo_word(address):
                return True
        elif issubclass(kind, ctypes._Pointer):
            target = (kind._type_, _core.cgo_word(address))
            if target[1] and target not in seen:
                seen.add(target)
                regions.append((target[1], ctypes.sizeof(target[0])))
                pending.append(target)
        elif issubclass(kind, ctypes.Array) and not _holds_pointers(ctypes, kind._type_):
            continue
        else:
            pending += ((inner, address + offset) for offset, inner in _parts(ctypes, kind))
    return False


def _parts(ctypes: Any, kind: Any) -> Iterator[tuple[int, Any]]:
    """The parts of a structure, union or array, as pairs of an offset and a type, without bit fields."""
    if issubclass(kind, ctypes.Array):
        size = ctypes.sizeof(kind._type_)
        yield from ((i * size, kind._type_) for i in range(kind._length_))
        return
    for cls in kind.__mro__:
        for field in cls.__dict__.get("_fields_", ()):
            if len(field) == 2:
                yield cls.__dict__[field[0]].offset, field[1]


def _may_lead(ctypes: Any, kind: Any) -> tuple[bool, bool]:
    """Whether data of this type can lead to objects, and whether that answer is final.

    It is not final while a structure that a pointer leads to has no fields yet.
    """
    seen: set[Any] = set()
    pending, complete = [kind], True
    while pending:
        one = pending.pop()
        if one in seen:
            continue
        seen.add(one)
        if issubclass(one, ctypes._SimpleCData):
            if one._type_ == "O":
                return True, True
        elif issubclass(one, (ctypes._Pointer, ctypes.Array)):
            if getattr(one, "_type_", None) is None:
                complete = False
            else:
                pending.append(one._type_)
        elif not issubclass(one, ctypes._CFuncPtr):
            complete = complete and hasattr(one, "_fields_")
            pending += (inner for _, inner in _parts(ctypes, one))
    return False, complete


def _holds_pointers(ctypes: Any, kind: Any) -> bool:
    """Whether data of this type can hold addresses of objects or typed pointers; numbers cannot."""
    while issubclass(kind, ctypes.Array):
        kind = kind._type_
    return not issubclass(kind, (ctypes._SimpleCData, ctypes._CFuncPtr)) or issubclass(kind, ctypes.py_object)
