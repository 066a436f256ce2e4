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
MOST_MIB_A_TOGGLE = 0.05


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


def test_a_kernel_through_200_toggles_and_20_own_pictures(
    record_property: Callable[[str, object], None],
) -> None:
    cell = "import htc_lab\nview = htc_lab.explore(9, 'classroom/htc')\nview"
    figures = benchmark("kernels", "--toggles", "200", "--pictures", "20", "--kernels", "1", "--cell", cell)
    toggles, pictures, opened = (figures[name] for name in ("toggles", "pictures", "explorer_open"))
    record_property("figure", f"kernel, 200 toggles: {toggles}")
    record_property("figure", f"kernel, 20 own pictures: {pictures}")
    record_property("figure", f"kernel, MiB a student: {opened}, a class of 30: {figures['class_of_30_mib']}")
    assert (toggles["done"], pictures["done"]) == (200, 20)
    assert toggles["mib_per_1000"] / 1000 < MOST_MIB_A_TOGGLE
    assert pictures["mib_per_1000"] / 1000 < MOST_MIB_EACH
    assert opened["private"] <= opened["rss"]
