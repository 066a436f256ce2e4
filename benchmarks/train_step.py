"""Forward and backward of one training step, part by part, beside torchvision's Mask R-CNN R-50.

python -m benchmarks.train_step [--preset NAME] [--batch N] [--on-objects N] [--precision P] [--json]

The peers run as they come, in float32, whatever our precision, on the same pictures and objects; so does
mmdet's HTC R-50 where it is installed.
"""

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
import tyro
from torch import Tensor

from benchmarks.convolution_rate import convolution_rate
from benchmarks.figures import gflop_of, peak_gb, seconds_of, show, summary
from benchmarks.inference import sized
from benchmarks.parts import Parts, parts_of
from benchmarks.peers import Peer, Task, against, peers_at_hand
from benchmarks.pictures import objects, picture, proposals_near
from htc_lab.measured_on import describe_machine
from htc_lab.model import HybridTaskCascade, build_model, total_loss
from htc_lab.presets import preset
from htc_lab.structures import Proposals, RoIs, Targets


@dataclass
class Options:
    """Fresh weights; noise for a picture, ellipses for objects; what is sampled is the same in every run."""

    preset: str = "htc_r50_1x"
    """Which model."""
    height: int = 512
    """Of the pictures, px."""
    width: int = 672
    """Of the pictures, px."""
    batch: int = 1
    """Pictures a step."""
    objects: int = 8
    """On each picture."""
    on_objects: int = 0
    """So many proposals of each picture lie on objects, as a trained RPN's do. A fresh one hits few, and the
    mask heads, which see only hits, have little to do."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of our forward pass."""
    device: str = "cpu"
    """cpu or cuda."""
    repeats: int = 3
    """Timed steps of each model, in turns, after one to warm up."""
    peer: bool = True
    """Time torchvision's Mask R-CNN too, and mmdet's HTC where it is installed."""
    json: bool = False
    """Print one JSON object."""


class Step:
    """A training step that can be repeated.

    Attributes:
        model: which.
        losses: of the last one.
    """

    def __init__(self, options: Options) -> None:
        """Build model, pictures and objects."""
        config = sized(preset(options.preset), options.height, options.width)
        self.model: HybridTaskCascade = build_model(config, seed=0).to(options.device).train()
        self.half = options.precision == "bfloat16"
        self.kind = torch.device(options.device).type
        height, width = options.height, options.width
        self.images = [picture(height, width, i) for i in range(options.batch)]
        truths = [
            objects(height, width, options.objects, config.classes, seed=i) for i in range(options.batch)
        ]
        classes = config.semantic.classes
        self.targets = [Targets(t.boxes, t.labels, t.masks, t.semantic % classes) for t in truths]
        near = [
            proposals_near(t.boxes, height, width, options.on_objects, seed=i).to(options.device)
            for i, t in enumerate(truths)
        ]
        if options.on_objects:
            _propose_also(self.model, near)
        self.losses: dict[str, Tensor] = {}
        self._total = torch.zeros(())

    def forward(self) -> None:
        """All losses."""
        self.model.zero_grad(set_to_none=True)
        draws = torch.Generator().manual_seed(1)
        with torch.autocast(self.kind, torch.bfloat16) if self.half else nullcontext():
            self.losses = self.model.losses(self.images, self.targets, generator=draws)
        self._total = total_loss(self.losses)

    def backward(self) -> None:
        """All gradients."""
        self._total.backward()

    def __call__(self) -> None:
        """Forward and backward."""
        self.forward()
        self.backward()


def _propose_also(model: HybridTaskCascade, near: list[Tensor]) -> None:
    """Put these boxes (n, 4) an image before what the RPN proposes, at most as many as it may.

    Box heads leave them where they are: fresh ones would throw them off their objects.
    """
    for head in model.roi_head.bbox_head:
        torch.nn.init.zeros_(head.get_submodule("fc_reg").get_parameter("weight"))
    propose = model.rpn_head.propose
    most = model.config.rpn.train_after_nms

    def with_near(*args: Any, **kwargs: Any) -> Proposals:
        found = propose(*args, **kwargs)
        boxes = [torch.cat([extra, found.rois.of_image(i)])[:most] for i, extra in enumerate(near)]
        return Proposals(RoIs.of(boxes), torch.ones(sum(map(len, boxes)), device=boxes[0].device))

    model.rpn_head.propose = with_near  # type: ignore[method-assign]


def measure(options: Options) -> dict[str, Any]:
    """Run the benchmark: figures by name."""
    step = Step(options)
    gflop = gflop_of(step)
    times = []
    with ExitStack() as stack:
        task = Task(
            "train_step",
            options.height,
            options.width,
            options.batch,
            options.objects,
            options.on_objects,
            options.device,
        )
        peers = [stack.enter_context(Peer(who, task)) for who in peers_at_hand()] if options.peer else []
        for _ in range(options.repeats):
            times.append(seconds_of(step, options.device))
            for peer in peers:
                peer.go()
        peak = peak_gb(options.device)
        parts = Parts(options.device)
        with parts.watching(
            [*parts_of(step.model), ("losses", step, "forward"), ("backward", step, "backward")]
        ):
            watched = [seconds_of(step, options.device) for _ in range(options.repeats)]
        figures = summary(times)
        compared = against(figures, peers)
    rate = convolution_rate(options.device, torch.bfloat16 if step.half else torch.float32)
    return {
        "preset": options.preset,
        "size": [options.height, options.width],
        "batch": options.batch,
        "objects": options.objects,
        "proposals_on_objects": options.on_objects,
        "precision": options.precision,
        "loss": round(sum(float(v.detach()) for n, v in step.losses.items() if "loss" in n), 4),
        **figures,
        **compared,
        "gflop": gflop,
        "convolution_gflop_per_s": round(rate, 1),
        "share_of_convolution_rate": round(gflop / figures["seconds"] / rate, 3),
        "parts": parts.shares(options.repeats, sum(watched) / options.repeats),
        "peak_gb": peak,
        "machine": describe_machine(),
    }


if __name__ == "__main__":
    options = tyro.cli(Options)
    show(measure(options), options.json)
