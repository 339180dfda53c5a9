"""At GOTRACEBACK=none only the signal is named."""
#: env GOTRACEBACK=none
#: exit SIGSEGV

import ctypes

from gort import chan, go

go(ctypes.string_at, 16)
chan().recv()
