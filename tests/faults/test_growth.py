"""Memory is watched: the instrument sees a leak, and short runs of the long benchmarks show none."""

import json
import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.memory import MIB, Growth, slope

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux only")

# Kept features or gradients of one picture would be more, rounding to pages and pools is less.
MOST_MIB_EACH = 3.0


def test_the_slope_is_that_of_the_line() -> None:
    assert slope([0, 10, 20], [5.0, 7.0, 9.0]) == pytest.approx(0.2)
    assert slope([4], [5.0]) == 0.0


def test_a_leak_is_seen() -> None:
    growth, kept = Growth(every=2), []
    for done in range(1, 41):
        # Mapped, so that it is new memory even where the allocator has freed blocks to give.
        kept.append(mmap.mmap(-1, MIB))
        kept[-1].write(os.urandom(MIB))
        growth.see(done)
    figures = growth.figures()
    assert figures["done"] == 40
    assert figures["mib_per_1000"] == pytest.approx(1000, rel=0.2)
    assert figures["mib_end"] - figures["mib_warm"] > 20


def test_without_a_leak_there_is_none() -> None:
    growth = Growth(every=2)
    for done in range(1, 41):
        os.urandom(MIB)
        growth.see(done)
    assert abs(growth.figures()["mib_per_1000"]) < 100


def benchmark(name: str, *flags: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", *flags]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    figures: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return figures


def test_a_short_soak(record_property: Callable[[str, object], None]) -> None:
    flags = ["--steps", "32", "--predictions", "32", "--readings", "16", "--threads", "1"]
    figures = benchmark("soak", *flags)
    record_property("figure", f"short soak: {figures['training']}, {figures['prediction']}")
    for kind in ("training", "prediction"):
        assert figures[kind]["done"] == 32
        assert figures[kind]["mib_per_1000"] / 1000 < MOST_MIB_EACH


def test_a_kernel_with_the_explorer(record_property: Callable[[str, object], None]) -> None:
    figures = benchmark("kernels", "--toggles", "40", "--pictures", "3", "--kernels", "1")
    record_property("figure", f"kernel: {figures['toggles']}, explorer open {figures['explorer_open']}")
    assert figures["toggles"]["done"] == 40
    assert figures["toggles"]["mib_per_1000"] / 1000 < 0.2
    assert figures["pictures"]["done"] == 3
    assert figures["explorer_open"]["private"] <= figures["explorer_open"]["rss"]
