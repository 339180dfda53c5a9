#: env PYTHONMALLOC=debug
"""The debug hooks stay, and there are no figures."""

import gort
from gort import runtime

try:
    runtime.read_mem_stats()
except runtime.Error as error:
    print(error)
gort.run(print, "goes on")
