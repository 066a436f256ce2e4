"""Time and memory of one image through a model, part by part, beside torchvision's Mask R-CNN R-50.

python -m benchmarks.inference [--preset NAME] [--height H] [--width W] [--repeats N] [--json]
"""

import dataclasses
import functools
import json
import resource
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import maskrcnn_resnet50_fpn

from htc_lab import cascade as cascade_module
from htc_lab.engine.machine import describe_machine
from htc_lab.model import HybridTaskCascade, build_model
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
    repeats: int = 3
    """Timed runs of each model, in turns, after one to warm up."""
    peer: bool = True
    """Time torchvision's Mask R-CNN too."""
    json: bool = False
    """Print one JSON object."""


class Parts:
    """Seconds spent in each part of a model."""

    def __init__(self, model: HybridTaskCascade) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        head = model.roi_head
        self._watch("backbone", model.backbone, "forward")
        self._watch("FPN", model.neck, "forward")
        self._watch("RPN", model.rpn_head, "forward", "propose")
        for box_head in head.bbox_head:
            self._watch("box heads", box_head, "forward")
        for mask_head in head.mask_head:
            self._watch("mask heads", mask_head, "trunk", "logits")
        if head.semantic_head is not None:
            self._watch("semantic branch", head.semantic_head, "forward")

    def _watch(self, name: str, module: nn.Module, *methods: str) -> None:
        for method in methods:
            setattr(module, method, self._timed(name, getattr(module, method)))

    def _timed(self, name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return run(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - began

        return timed

    @contextmanager
    def watching_pooling(self) -> Iterator[None]:
        """RoI pooling is a function of the cascade's module, not a module of its own."""
        before = cascade_module.pool, cascade_module.pool_pyramid
        cascade_module.pool = self._timed("RoI pooling", before[0])
        cascade_module.pool_pyramid = self._timed("RoI pooling", before[1])
        try:
            yield
        finally:
            cascade_module.pool, cascade_module.pool_pyramid = before


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _peak_gb() -> float:
    """The process's largest memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def _convolution_rate() -> float:
    """GFLOP/s of the 3x3 convolution that mask heads and FPN are made of: what this machine can reach."""
    convolution = nn.Conv2d(256, 256, 3, padding=1).eval()
    pixels = torch.randn(1, 256, 100, 168)
    work = 2 * 256 * 256 * 9 * 100 * 168 / 1e9
    with torch.no_grad():
        return work / min(_seconds(lambda: convolution(pixels)) for _ in range(4))


@torch.no_grad()
def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark: figures by name."""
    config = preset(options.preset)
    sides = min(options.height, options.width), max(options.height, options.width)
    config = dataclasses.replace(
        config, image=dataclasses.replace(config.image, short=sides[0], long=sides[1])
    )
    model = build_model(config, seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    picture = torch.randint(0, 256, (3, options.height, options.width), generator=generator).byte()

    def ours() -> list[Any]:
        return model.predict([picture])

    with FlopCounterMode(display=False) as counter:
        found = ours()[0]
    peak = _peak_gb()
    peer: Callable[[], Any] | None = None
    if options.peer:
        peer = _torchvision(picture)
        peer()
    times, theirs = [], []
    parts = Parts(model)
    with parts.watching_pooling():
        for _ in range(options.repeats):
            times.append(_seconds(ours))
            if peer is not None:
                theirs.append(_seconds(peer))
    seconds = statistics.median(times)
    by_part = {name: total / options.repeats for name, total in parts.seconds.items()}
    by_part["the rest"] = statistics.mean(times) - sum(by_part.values())
    # A convolution counts as in the papers of the field, multiplications and additions both.
    gflop, rate = counter.get_total_flops() / 1e9, _convolution_rate()
    return {
        "preset": options.preset,
        "size": [options.height, options.width],
        "detections": len(found),
        "seconds": round(seconds, 3),
        "spread": [round(min(times), 3), round(max(times), 3)],
        "torchvision_seconds": round(statistics.median(theirs), 3) if theirs else None,
        "vs_torchvision": round(seconds / statistics.median(theirs), 3) if theirs else None,
        "gflop": round(gflop, 1),
        "convolution_gflop_per_s": round(rate, 1),
        "share_of_convolution_rate": round(gflop / seconds / rate, 3),
        "parts": {name: round(value, 3) for name, value in by_part.items()},
        "peak_gb": round(peak, 2),
        "machine": describe_machine(),
    }


def _torchvision(picture: Tensor) -> Callable[[], Any]:
    """The yardstick at the same size: random weights, every box kept, 100 detections."""
    torch.manual_seed(0)
    sides = {"min_size": min(picture.shape[1:]), "max_size": max(picture.shape[1:])}
    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, box_score_thresh=0.0, **sides).eval()
    pixels = [picture.float() / 255]
    return lambda: model(pixels)


def main(options: Options) -> None:
    """Measure and print."""
    figures = measure(options)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{name:>26}")
            for key, entry in value.items():
                print(f"{key:>32}  {entry}")
        else:
            print(f"{name:>26}  {value}")


if __name__ == "__main__":
    main(tyro.cli(Options))
