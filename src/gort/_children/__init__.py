"""`gort run --children`: the Python processes that a program starts run under gort, too.

A server with a reloader, or with worker processes, starts its children with sys.executable, which knows
nothing of `gort run`. What they inherit is the environment. So `reach` puts this folder in front of
PYTHONPATH, where `site` finds its sitecustomize.py before the program begins; that calls `start`. Children of
children inherit the same PYTHONPATH.

A child is run by python and not by gort._cli. What `gort run` does besides is had from sys.excepthook: an
exception that leaves main is a panic. A program that sets a hook of its own, and does not call the one that
was there, keeps python's way. GODEBUG=allocfreetrace=1 shows what `site` does after `start`, too.

Rejected: a .pth file or a sitecustomize.py beside the installed package, which every Python would load,
without being asked; another sys.executable, which multiprocessing, venv and pip take for an interpreter;
other functions in subprocess and os, which C code does not call and which would have to know python's
command line; `gort run` started by sitecustomize in the place of the child, which would start every child
twice; an audit hook, which sees each exception that leaves main, and each import and each open() as well.
"""

import os

from .. import _traceback

FOLDER = os.path.dirname(os.path.abspath(__file__))


def reach() -> None:
    """Has the Python processes that this one starts, and those that they start, run under gort."""
    given = os.environ.get("PYTHONPATH")
    # Another gort's folder, of another version, would do the same once more.
    own = os.sep + os.path.join("gort", "_children")
    others = [entry for entry in given.split(os.pathsep) if not entry.endswith(own)] if given else []
    os.environ["PYTHONPATH"] = os.pathsep.join([FOLDER, *others])


def start() -> None:
    """Called in a child, by sitecustomize: importing this module has started the runtime."""
    _traceback.own_main()
