"""yappi: calls in goroutines are counted."""

from __future__ import annotations

import pytest

from harness import run_source

pytest.importorskip("yappi", reason="yappi is not installed")


def test_calls_in_goroutines() -> None:
    run_source(
        """
        import yappi
        from gort.runtime import gosched
        from gort.sync import WaitGroup

        def leaf():
            gosched()

        def worker():
            for _ in range(7):
                leaf()

        yappi.set_clock_type("wall")
        yappi.start()
        wg = WaitGroup()
        for _ in range(5):
            wg.go(worker)
        wg.wait()
        yappi.stop()
        print(sorted((s.name, s.ncall) for s in yappi.get_func_stats() if s.name in ("leaf", "worker")))
        """
    ).check(stdout="[('leaf', 35), ('worker', 5)]\n", stderr="")
