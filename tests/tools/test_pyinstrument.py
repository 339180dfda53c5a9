"""pyinstrument: it samples the goroutine that it is started in."""

from __future__ import annotations

import pytest

from harness import run_source

pytest.importorskip("pyinstrument", reason="pyinstrument is not installed")


@pytest.mark.parametrize("place", ["main", "goroutine"])
def test_samples(place: str) -> None:
    run_source(
        """
        import sys, time
        import gort
        from pyinstrument import Profiler

        def spin():
            end = time.process_time() + 0.2
            while time.process_time() < end:
                pass

        def profiled():
            profiler = Profiler()
            with profiler:
                spin()
            return profiler.output_text()

        text = gort.run(profiled) if sys.argv[1] == "goroutine" else profiled()
        print("spin" in text)
        """,
        place,
    ).check(stdout="True\n")
