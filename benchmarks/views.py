"""Several views of one picture, merged, beside as many single predictions: the ratio, and what a view keeps.

python -m benchmarks.views [--preset NAME] [--height H] [--width W] [--views V ...] [--repeats N] [--json]

A single prediction is that of the model at the view's size, so both sides see the same pixels. The merges and
the single predictions take turns.
"""

from dataclasses import dataclass
from typing import Any

import torch
import tyro

from benchmarks.figures import peak_gb, seconds_of, show, summary
from benchmarks.inference import sized
from benchmarks.pictures import picture
from htc_lab.looks import Look
from htc_lab.measured_on import describe_machine
from htc_lab.merged_predictor import Merge, MergedPredictor, predictor_of
from htc_lab.model import build_model
from htc_lab.predictors import ModelPredictor
from htc_lab.presets import preset
from htc_lab.structures import Features
from htc_lab.views import View, parse_views

MERGES: tuple[Merge, ...] = ("roi", "detections")


@dataclass
class Options:
    """Fresh weights and a random picture; by default eight views: four sizes, each also mirrored."""

    preset: str = "htc_r50_1x"
    """Which model."""
    height: int = 800
    """Of the picture, px."""
    width: int = 1344
    """Of the picture, px."""
    views: tuple[str, ...] = ("600x1008", "700x1176", "own", "900x1512", "flip")
    """As for htc-lab predict."""
    merges: tuple[Merge, ...] = MERGES
    """Which ways to merge."""
    bf16: bool = False
    """Convolutions and linear layers in bfloat16."""
    device: str = "cpu"
    """cpu or cuda."""
    repeats: int = 3
    """Timed runs of each, in turns, after one to warm up."""
    json: bool = False
    """Print one JSON object."""


def kept_mib(features: Features) -> float:
    """What stays in memory of a view until the picture is done, MiB."""
    maps = [*features.levels, features.semantic_feature]
    return sum(m.numel() * m.element_size() for m in maps if m is not None) / 2**20


@torch.no_grad()
def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark: figures by name."""
    config = sized(preset(options.preset), options.height, options.width)
    model = build_model(config, seed=0).eval().to(options.device)
    image, views = picture(options.height, options.width), parse_views(options.views)
    member = ModelPredictor(model, bf16=options.bf16)
    # A mirrored view costs what the view costs.
    alone = [predictor_of([model], (View(view.size),), bf16=options.bf16) for view in views]

    def singles() -> None:
        for each in alone:
            each.predict([image])

    runs = {"singles": singles}
    for merge in options.merges:
        merged = MergedPredictor((member,), views, merge)
        runs[merge] = lambda merged=merged: merged.predict([image])  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(options.repeats):
        for name, run in runs.items():
            times[name].append(seconds_of(run, options.device))
    by_name = {name: summary(taken) for name, taken in times.items()}
    base = by_name["singles"]["seconds"]
    return {
        "preset": options.preset,
        "size": [options.height, options.width],
        "views": [str(view) for view in views],
        **by_name[options.merges[0]],
        "vs_torchvision": None,
        "single_predictions": by_name["singles"],
        "merges": {name: by_name[name] for name in options.merges},
        "vs_single_predictions": {name: round(by_name[name]["seconds"] / base, 3) for name in options.merges},
        "mib_of_a_view": {
            str(view): round(kept_mib(Look.at(image, view, member).features), 1)
            for view in views
            if not view.flip
        },
        "peak_gb": peak_gb(options.device),
        "machine": describe_machine(),
    }


if __name__ == "__main__":
    options = tyro.cli(Options)
    show(measure(options), options.json)
