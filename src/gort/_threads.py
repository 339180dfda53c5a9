"""What a goroutine gets from the threading module."""

import sys
import threading


def goroutine_started() -> None:
    """Gives a new goroutine the trace and profile functions that threading gives a new thread."""
    trace = threading.gettrace()
    if trace is not None:
        sys.settrace(trace)
    profile = threading.getprofile()
    if profile is not None:
        sys.setprofile(profile)
