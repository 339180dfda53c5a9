"""Starts gort in a child of `gort run --children`, then makes way for the sitecustomize that it hides.

`site` imports this module before the program begins (see gort._children). Whoever imports it gets the hidden
one, or the exception that importing that raises: ModuleNotFoundError if there is none, which `site` expects.
Only the traceback of such an exception, which `site` shows with -v, has a line of this file.

It may be loaded by any version of Python, so it uses only what they all have in common.
"""

import os
import sys

# What the program itself finds, as if this folder were not there. It stays in PYTHONPATH for the next child.
_folder = os.path.dirname(__file__)
sys.path[:] = [_entry for _entry in sys.path if _entry != _folder]

_why = ""
try:
    from gort._children import start

    start()
except Exception as _exc:
    _why = str(_exc) or type(_exc).__name__
    _path = getattr(_exc, "path", None)
    if _path and getattr(_exc, "name", None) == "gort":
        _why = "it is not the one for which " + os.path.dirname(_path) + " is built"
# Said once in a process: subinterpreters, which refuse gort anyway, do not load _signal when they start.
if _why and "_signal" in sys.modules:
    try:
        sys.stderr.write(
            "gort run --children: " + (sys.executable or "python") + " (" + sys.version.split()[0] + ")"
            " runs without gort: " + _why.split("\n")[0] + "\n"
        )
    except Exception:
        pass  # There is no standard error, or it is full.

sys.modules.pop("sitecustomize", None)
__import__("sitecustomize")
