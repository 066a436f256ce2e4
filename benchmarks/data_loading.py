"""Does a training wait for its data?

python -m benchmarks.data_loading [--preset NAME] [--workers 0 2] [--json]

The real training loop on generated scenes, every image read from disk, decoded and transformed again, as from
a data set too large for memory; the wait is what passes between two steps. Beside it, how many images the
loader alone hands over a second: what a faster device could ask for.
"""

import dataclasses
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.figures import show
from htc_lab.ablation.ladder import config_for, train_dataset
from htc_lab.config import ModelConfig
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.measured_on import describe_machine
from htc_lab.presets import preset, schedule_of
from htc_lab.schedule import Schedule
from htc_lab.train.batches import BatchOfStep, batches
from htc_lab.train.loop import TrainOptions, train


@dataclass
class Options:
    """Train for some steps from fresh weights with each number of reading processes."""

    preset: str = "classroom"
    """Which model, with its own training sizes."""
    images: int = 120
    """Scenes to train on."""
    size: int = 128
    """Of the scenes, px, before they are resized."""
    steps: int = 30
    """Steps of each training. The first, which starts the reading processes, is left out."""
    batch: int = 4
    """Images a step."""
    workers: tuple[int, ...] = (0, 2)
    """Processes that read images, beside the one that trains."""
    device: str = "cpu"
    """cpu or cuda."""
    json: bool = False
    """Print one JSON object."""


def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark: figures by name."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        config, schedule, dataset = material(options, root / "scenes")
        readers = {}
        for workers in options.workers:
            waits, steps = _waits(root / f"run_{workers}", config, schedule, dataset, workers, options.device)
            whole = sum(waits) + sum(steps)
            readers[str(workers)] = {
                "wait_ms": round(1e3 * statistics.median(waits), 2),
                "wait_ms_largest": round(1e3 * max(waits), 2),
                "step_ms": round(1e3 * statistics.median(steps), 1),
                "share_of_time": round(sum(waits) / whole, 4),
                "images_per_second": round(options.batch * len(steps) / whole, 2),
                "loader_alone_images_per_second": round(loader_rate(dataset, schedule, workers), 1),
            }
    return {
        "preset": options.preset,
        "seconds": readers[str(options.workers[0])]["wait_ms"] / 1e3,
        "vs_torchvision": None,
        "images": options.images,
        "size": options.size,
        "batch": options.batch,
        "readers": readers,
        "machine": describe_machine(),
    }


def material(options: Options, scenes: Path) -> tuple[ModelConfig, Schedule, CocoDataset]:
    """What a training is given; the scenes are drawn into that folder."""
    write_classroom(scenes, options.images, 1, 1, SceneConfig(size=options.size), progress=False)
    data = find_data(scenes)
    config = preset(options.preset)
    config = dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, pretrained=False))
    schedule = dataclasses.replace(schedule_of(options.preset), steps=options.steps, batch=options.batch)
    semantic = semantic_classes(data)
    config = config_for(config, data, semantic)
    seen = train_dataset(data, semantic, config, schedule)
    unkept = CocoDataset(
        data.train, semantic, keep_empty=False, min_size=schedule.min_size, transform=seen.transform
    )
    return config, schedule, unkept


def _waits(
    run: Path, config: ModelConfig, schedule: Schedule, dataset: CocoDataset, workers: int, device: str
) -> tuple[list[float], list[float]]:
    """Seconds before each step but the first, and of each step."""
    ends: list[float] = []
    steps: list[float] = []

    def on_step(step: int, metrics: dict[str, float]) -> None:
        ends.append(time.perf_counter())
        steps.append(metrics["seconds"])

    options = TrainOptions(device=device, workers=workers, progress=False, checkpoint_every=10**9)
    train(run, config, schedule, dataset, options, on_step)
    # The last step's end comes after the checkpoint that closes a run.
    waits = [b - a - s for a, b, s in zip(ends[:-2], ends[1:-1], steps[1:-1], strict=True)]
    return waits, steps[1:-1]


def loader_rate(dataset: CocoDataset, schedule: Schedule, workers: int) -> float:
    """Images a second when nobody trains, the start of the processes left out."""
    assert schedule.steps is not None
    source = BatchOfStep(dataset, schedule.batch, schedule.steps, 0)
    loader = iter(batches(source, 0, workers))
    next(loader)
    began = time.perf_counter()
    taken = sum(len(batch.samples) for batch in loader)
    return taken / (time.perf_counter() - began)


if __name__ == "__main__":
    options = tyro.cli(Options)
    show(measure(options), options.json)
