"""Classroom scenes written per second: ``python -m benchmarks.scenes [--json]``."""

import os
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.figures import show
from htc_lab.data.classroom.scenes import SceneConfig, make_scene
from htc_lab.data.classroom.tree import write_classroom


@dataclass
class Options:
    """Write a tree of scenes, start of the workers, PNG and mask encoding included, and say how fast."""

    images: int = 1000
    """How many."""
    size: int = 128
    """Height and width, px."""
    workers: int = 2
    """Processes."""
    json: bool = False
    """Print one JSON object."""


def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark: figures by name."""
    config = SceneConfig(size=options.size)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_classroom(
            Path(folder) / "scenes", options.images - 2, 1, 1, config, workers=options.workers, progress=False
        )
        seconds = time.perf_counter() - start
    alone = min(_seconds_of_scene(seed, config) for seed in range(20))
    return {
        "images": options.images,
        "size": options.size,
        "workers": options.workers,
        "seconds": round(seconds, 2),
        "vs_torchvision": None,
        "images_per_second": round(options.images / seconds, 1),
        "fastest_scene_ms": round(1e3 * alone, 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
    }


def _seconds_of_scene(seed: int, config: SceneConfig) -> float:
    start = time.perf_counter()
    make_scene(seed, config)
    return time.perf_counter() - start


if __name__ == "__main__":
    options = tyro.cli(Options)
    show(measure(options), options.json)
