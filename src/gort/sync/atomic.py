"""Go's package sync/atomic: values that many goroutines read and write without a lock."""

from typing import Generic, TypeVar

from .._core import Bool, Error, Int32, Int64, Pointer, Uint32, Uint64

__all__ = ["Bool", "Int32", "Int64", "Pointer", "Uint32", "Uint64", "Value"]

_T = TypeVar("_T")


class Value(Generic[_T]):
    """Holds a value of any type, but once it is set only values of that exact type: Go's atomic.Value.

    Methods that set it raise runtime.Error, with Go's text, for None and for a value of another type.
    """

    __slots__ = ("_pointer",)

    def __init__(self) -> None:
        self._pointer: Pointer[_T] = Pointer()

    def load(self) -> _T | None:
        """The value; None if none has been set. Mirrors Go's Value.Load."""
        return self._pointer.load()

    def store(self, value: _T, /) -> None:
        """Sets the value. Mirrors Go's Value.Store."""
        self._exchange("store", value)

    def swap(self, new: _T, /) -> _T | None:
        """Sets the value and returns the previous one; None if there was none. Mirrors Go's Value.Swap."""
        return self._exchange("swap", new)

    def compare_and_swap(self, old: _T | None, new: _T, /) -> bool:
        """Sets the value to new if it equals old; True if it did. An old of None means that none is set.

        Mirrors Go's Value.CompareAndSwap.
        """
        if new is None:
            raise Error("sync/atomic: compare and swap of nil value into Value")
        if old is not None and type(old) is not type(new):
            raise Error("sync/atomic: compare and swap of inconsistently typed values")
        while True:
            current = self._pointer.load()
            if current is not None and type(current) is not type(new):
                raise Error("sync/atomic: compare and swap of inconsistently typed value into Value")
            if current is not old and not (current is not None and old is not None and current == old):
                return False
            if self._pointer.compare_and_swap(current, new):
                return True

    def _exchange(self, what: str, new: _T) -> _T | None:
        if new is None:
            raise Error(f"sync/atomic: {what} of nil value into Value")
        while True:
            current = self._pointer.load()
            if current is not None and type(current) is not type(new):
                raise Error(f"sync/atomic: {what} of inconsistently typed value into Value")
            if self._pointer.compare_and_swap(current, new):
                return current
