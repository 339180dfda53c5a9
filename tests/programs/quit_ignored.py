"""SIGQUIT is answered also where the parent had it ignored, as shells do for background jobs."""
#: exit 2

import signal
import subprocess
import sys

PROGRAM = """
import os, signal
import gort
os.kill(os.getpid(), signal.SIGQUIT)
"""
signal.signal(signal.SIGQUIT, signal.SIG_IGN)
sys.exit(
    subprocess.run(
        [sys.executable, "-c", PROGRAM], stderr=subprocess.DEVNULL, restore_signals=False
    ).returncode
)
