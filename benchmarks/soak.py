"""Does memory grow? Many training steps and many predictions in one process, and the slope of its memory.

python -m benchmarks.soak [--steps N] [--predictions N] [--json]

Training is the real loop (run folder, checkpoints, augmentation at several sizes) of a tiny model;
predictions are whole ones (boxes, masks pasted) of the shipped classroom model on scenes of changing size.
"""

import dataclasses
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from benchmarks.memory import Growth
from htc_lab.ablation.ladder import config_for, train_dataset
from htc_lab.checkpoint.files import load
from htc_lab.config import HTC
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.data.classroom.scenes import SceneConfig
from htc_lab.data.classroom.tree import write_classroom
from htc_lab.data.layout import find_data
from htc_lab.data.semantic import semantic_classes
from htc_lab.measured_on import describe_machine
from htc_lab.schedule import Schedule
from htc_lab.train.loop import TrainOptions, train
from tests.unit.tiny import TINY


@dataclass
class Options:
    """How much is done."""

    steps: int = 2000
    """Training steps, two images each."""
    predictions: int = 5000
    """Images through the model."""
    model: str = "classroom/htc"
    """What predicts."""
    readings: int = 100
    """Readings of the memory, of each kind; the first quarter counts as warming up."""
    threads: int = 2
    """Threads of torch."""
    json: bool = False
    """Print one JSON object."""


def soak_training(steps: int, readings: int) -> dict[str, float]:
    """``steps`` steps of the training loop."""
    growth = Growth(max(1, steps // readings))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_classroom(root / "scenes", 24, 2, 2, SceneConfig(size=64), progress=False)
        data = find_data(root / "scenes")
        semantic = semantic_classes(data)
        image = dataclasses.replace(TINY.image, train_short=(48, 64, 80), train_long=96)
        config = config_for(dataclasses.replace(TINY, image=image, toggles=HTC), data, semantic)
        schedule = Schedule(steps=steps, batch=2, lr=0.005, lr_batch=2, clip_norm=10.0, min_size=8)
        dataset = train_dataset(data, semantic, config, schedule)
        options = TrainOptions(progress=False, checkpoint_every=50)
        train(root / "run", config, schedule, dataset, options, lambda step, _: growth.see(step))
    return growth.figures()


def soak_predictions(name: str, predictions: int, readings: int) -> dict[str, float]:
    """``predictions`` images of 96 to 160 px, one at a time."""
    growth = Growth(max(1, predictions // readings))
    model = load(name)
    images = [sample.image for sample in classroom_samples(16)]
    sizes = (96, 112, 128, 144, 160)
    pictures = [image[:, :height, :width] for image in images for height in sizes[:3] for width in sizes]
    for done in range(1, predictions + 1):
        model.predict([pictures[done * 7 % len(pictures)]])
        growth.see(done)
    return growth.figures()


def measure(options: Options) -> dict[str, Any]:
    """Run the soak: figures by name."""
    torch.set_num_threads(options.threads)
    figures: dict[str, Any] = {}
    for name, run in (
        ("training", lambda: soak_training(options.steps, options.readings)),
        ("prediction", lambda: soak_predictions(options.model, options.predictions, options.readings)),
    ):
        began = time.perf_counter()
        figures[name] = run()
        figures[name]["seconds"] = round(time.perf_counter() - began)
    return {**figures, "machine": describe_machine()}


def main(options: Options) -> None:
    """Measure and print."""
    figures = measure(options)
    if options.json:
        print(json.dumps(figures))
        return
    for name in ("training", "prediction"):
        f = figures[name]
        print(
            f"{name:>10}: {f['done']} done in {f['seconds']} s; {f['mib_warm']} MiB after warming up, "
            f"{f['mib_end']} at the end, {f['mib_largest']} at most; {f['mib_per_1000']:+.2f} MiB per 1000"
        )


if __name__ == "__main__":
    main(tyro.cli(Options))
