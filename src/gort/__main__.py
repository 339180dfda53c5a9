"""`python -m gort` is the command `gort`."""

import sys

from ._cli import main

sys.exit(main())
