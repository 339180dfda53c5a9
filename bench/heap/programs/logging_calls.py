"""Calls of the logging module: records that are formatted and kept, and calls below the level."""

from __future__ import annotations

import io
import logging

N = 50_000  # rounds of three calls


def run(n: int) -> int:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    # No line numbers, times or thread names: the text is the same in every run.
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("bench.heap")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    total = 0
    for i in range(n):
        logger.debug("below the level: %d", i)
        logger.info("request %d of %s", i, "user")
        logger.warning("took %.3f s, %r", i / 1000, {"retry": i % 3})
        if i % 1000 == 999:
            total += len(stream.getvalue())
            stream.seek(0)
            stream.truncate()
    logger.removeHandler(handler)
    return total + len(stream.getvalue())
