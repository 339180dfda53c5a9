"""A thread of the C library waits for a timer and will call Python then: nobody is dead."""
#: timeout 120

import ctypes

from gort import cgo, chan


class Event(ctypes.Structure):
    _fields_ = [
        ("value", ctypes.c_void_p),
        ("number", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("pad", ctypes.c_char * 64),
    ]


class Time(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "s", "ns")]


SIGEV_THREAD = 2
ch = chan()
prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
libc = ctypes.CDLL(None)
for wrap in (prototype, cgo.callback(prototype)):
    notified = wrap(lambda _: ch.send("called"))
    event = Event(notify=SIGEV_THREAD, function=ctypes.cast(notified, ctypes.c_void_p))
    timer = ctypes.c_void_p()
    assert libc.timer_create(1, ctypes.byref(event), ctypes.byref(timer)) == 0
    assert libc.timer_settime(timer, 0, ctypes.byref(Time(s=0, ns=300_000_000)), None) == 0
    print(ch.recv())
