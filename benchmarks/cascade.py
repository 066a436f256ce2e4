"""What one toggle costs the kernel: the cascade run again on features that are there already.

python -m benchmarks.cascade [--toggles N] [--full-toggles N] [--json]

For the classroom model that ships with the lab, on a classroom scene, and for HTC R-50 at full size with
fresh weights. The view of each stage's own masks, which the widgets show, is included.
"""

import dataclasses
import itertools
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from benchmarks.figures import peak_gb, seconds_of, show, summary
from benchmarks.pictures import picture
from htc_lab.checkpoint.files import load
from htc_lab.config import HTC, Toggles
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.data.transforms import resize_image
from htc_lab.ideas import IDEAS
from htc_lab.measured_on import describe_machine
from htc_lab.model import HybridTaskCascade, build_model
from htc_lab.presets import preset


@dataclass
class Options:
    """Features and proposals are made once; then every combination of the switches in turn."""

    model: str = "classroom/htc"
    """The small model: a shipped name or a checkpoint."""
    toggles: int = 128
    """How many are timed on it, after 16 to warm up."""
    preset: str = "htc_r50_1x"
    """The large model."""
    height: int = 800
    """Of its picture, px."""
    width: int = 1344
    """Of its picture, px."""
    full_toggles: int = 8
    """How many are timed on it, after one; 0 leaves it out."""
    device: str = "cpu"
    """cpu or cuda."""
    json: bool = False
    """Print one JSON object."""


def combinations(model: HybridTaskCascade) -> list[Toggles]:
    """All settings of the ideas that the weights serve, everything on first."""
    fields = [idea.field for idea in IDEAS]
    settings = [
        dataclasses.replace(HTC, **dict(zip(fields, on, strict=True)))
        for on in itertools.product((True, False), repeat=len(fields))
    ]
    return [toggles for toggles in settings if not toggles.lacking(model.config.toggles)]


@torch.no_grad()
def time_toggles(
    model: HybridTaskCascade, image: Tensor, count: int, warm: int, device: str
) -> dict[str, Any]:
    """Encode and propose once, then ``count`` toggles: milliseconds of each, and what came before."""
    features = model.features_of([image])
    encode = seconds_of(lambda: model.features_of([image]), device)
    proposals = model.propose(features)
    propose = seconds_of(lambda: model.propose(features), device)
    settings = itertools.cycle(combinations(model))
    for _ in range(warm):
        trace = model.cascade(features, proposals, next(settings))
    times = [
        seconds_of(partial(model.cascade, features, proposals, toggles), device)
        for toggles in itertools.islice(settings, count)
    ]
    return {
        "model": model.config.name,
        "picture": list(image.shape[1:]),
        "proposals": len(proposals.rois),
        "detections": len(trace.labels),
        "toggles": count,
        **summary(times),
        "p50_ms": round(1e3 * float(np.percentile(times, 50)), 1),
        "p95_ms": round(1e3 * float(np.percentile(times, 95)), 1),
        "encode_ms": round(1e3 * encode, 1),
        "propose_ms": round(1e3 * propose, 1),
    }


def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark: figures by name."""
    small = load(options.model).eval().to(options.device)
    image, _, _ = resize_image(
        classroom_samples(1, first=9)[0].image, small.config.image.short, small.config.image.long
    )
    figures: dict[str, Any] = {"classroom": time_toggles(small, image, options.toggles, 16, options.device)}
    if options.full_toggles:
        large = build_model(preset(options.preset), seed=0).eval().to(options.device)
        scene = picture(options.height, options.width)
        figures[options.preset] = time_toggles(large, scene, options.full_toggles, 1, options.device)
    return {
        "seconds": figures["classroom"]["seconds"],
        "vs_torchvision": None,
        **figures,
        "peak_gb": peak_gb(options.device),
        "machine": describe_machine(),
    }


if __name__ == "__main__":
    options = tyro.cli(Options)
    show(measure(options), options.json)
