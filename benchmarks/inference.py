"""Time and memory of one image through a model, part by part, beside torchvision's Mask R-CNN R-50.

python -m benchmarks.inference [--preset NAME] [--height H] [--width W] [--precision P] [--repeats N] [--json]

The peers run as they come, in float32, whatever our precision; so does mmdet's HTC R-50 where it is
installed.
"""

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
import tyro

from benchmarks.convolution_rate import convolution_rate
from benchmarks.figures import gflop_of, peak_gb, seconds_of, show, summary
from benchmarks.parts import Parts, parts_of
from benchmarks.peers import Peer, Task, against, peers_at_hand
from benchmarks.pictures import picture
from htc_lab.config import ModelConfig
from htc_lab.layers.cpu.fused_convolution import written_out
from htc_lab.measured_on import describe_machine
from htc_lab.model import build_model
from htc_lab.presets import preset


@dataclass
class Options:
    """Fresh weights, a random picture, 1000 proposals and 100 detections where the preset has them."""

    preset: str = "htc_r50_1x"
    """Which model."""
    height: int = 800
    """Of the picture, px; it is not resized."""
    width: int = 1344
    """Of the picture, px."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of our model's layers."""
    device: str = "cpu"
    """cpu or cuda."""
    repeats: int = 3
    """Timed runs of each model, in turns, after one to warm up."""
    peer: bool = True
    """Time torchvision's Mask R-CNN too, and mmdet's HTC where it is installed."""
    json: bool = False
    """Print one JSON object."""


def sized(config: ModelConfig, height: int, width: int) -> ModelConfig:
    """The config at whose test size a picture of that size is not resized."""
    sides = min(height, width), max(height, width)
    return dataclasses.replace(config, image=dataclasses.replace(config.image, short=sides[0], long=sides[1]))


@torch.no_grad()
def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark: figures by name."""
    config = sized(preset(options.preset), options.height, options.width)
    model = build_model(config, seed=0).eval().to(options.device)
    image = picture(options.height, options.width)
    half = options.precision == "bfloat16"

    def ours() -> list[Any]:
        return model.predict([image], bf16=half)

    found = ours()[0]
    times = []
    with ExitStack() as stack:
        task = Task("inference", options.height, options.width, device=options.device)
        peers = [stack.enter_context(Peer(who, task)) for who in peers_at_hand()] if options.peer else []
        for _ in range(options.repeats):
            times.append(seconds_of(ours, options.device))
            for peer in peers:
                peer.go()
        peak = peak_gb(options.device)
        parts = Parts(options.device)
        with parts.watching(parts_of(model)):
            watched = [seconds_of(ours, options.device) for _ in range(options.repeats)]
        by_part = parts.shares(options.repeats, sum(watched) / options.repeats)
        figures = summary(times)
        compared = against(figures, peers)
    # The network's multiplications, of which Winograd's way leaves out some.
    with written_out():
        gflop = gflop_of(ours)
    rate = convolution_rate(options.device, torch.bfloat16 if half else torch.float32)
    return {
        "preset": options.preset,
        "size": [options.height, options.width],
        "precision": options.precision,
        "detections": len(found),
        **figures,
        **compared,
        "gflop": gflop,
        "convolution_gflop_per_s": round(rate, 1),
        "share_of_convolution_rate": round(gflop / figures["seconds"] / rate, 3),
        "parts": by_part,
        "peak_gb": peak,
        "machine": describe_machine(),
    }


if __name__ == "__main__":
    options = tyro.cli(Options)
    show(measure(options), options.json)
