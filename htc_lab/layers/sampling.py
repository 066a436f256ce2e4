"""The RoIs a stage is trained on: matched at the stage's IoU, sampled, with the ground truth among them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from htc_lab.config import CascadeConfig, StageConfig
from htc_lab.layers.matching import Draws, Matches, draws_of, match, sample
from htc_lab.structures import RoIs, Targets


@dataclass(frozen=True)
class StageSamples:
    """RoIs with what they should become; within an image positives come first.

    Attributes:
        rois: the sampled RoIs of the batch.
        labels: (N,) int64: the class to say; K means background.
        truth: (N,) int64: index into the image's ground truth, -1 for background.
        boxes: (N, 4) float32, the matched ground-truth box; the RoI itself for background.
        from_truth: (N,) bool: this RoI is a ground-truth box that was added to the proposals.
    """

    rois: RoIs
    labels: Int[Tensor, " N"]
    truth: Int[Tensor, " N"]
    boxes: Float[Tensor, "N 4"]
    from_truth: Bool[Tensor, " N"]

    @property
    def positive(self) -> Bool[Tensor, " N"]:
        """Which of them stand for an object."""
        return self.truth >= 0

    def select(self, which: Tensor) -> "StageSamples":
        """Those at ``which`` (indices or a boolean mask)."""
        return StageSamples(
            self.rois.select(which),
            self.labels[which],
            self.truth[which],
            self.boxes[which],
            self.from_truth[which],
        )


@torch.no_grad()
def sample_rois(
    rois: RoIs,
    targets: list[Targets],
    stage: StageConfig,
    config: CascadeConfig,
    classes: int,
    generator: Draws = None,
) -> StageSamples:
    """Match ``rois`` to the ground truth at ``stage.iou`` and sample, for each image by itself.

    The ground-truth boxes join the RoIs (``config.add_truth``), so that every object has a positive even
    when no proposal found it. Nothing here carries a gradient: where a box stands is decided by the stage
    before, whose loss has already judged it.
    """
    parts = []
    for i, target in enumerate(targets):
        proposed = rois.of_image(i)
        low_quality = stage.iou if config.low_quality_matches else None
        matches = match(proposed, target.boxes, stage.iou, stage.iou, low_quality)
        # Ground-truth boxes join after the matching: each stands for its own object, and none of them
        # may be the "best overlap" that a low-quality match asks for.
        added = target.boxes if config.add_truth else target.boxes[:0]
        own = torch.arange(len(added), device=proposed.device)
        boxes = torch.cat([added, proposed])
        matches = Matches(
            torch.cat([own, matches.index]), torch.cat([proposed.new_ones(len(own)), matches.iou])
        )
        positive, negative = sample(
            matches,
            config.samples,
            config.positive_fraction,
            draws_of(generator, i),
            config.negatives_per_positive,
        )
        drawn = torch.cat([positive, negative])
        truth = matches.index[drawn]
        found = truth >= 0
        labels = torch.full_like(truth, classes)
        labels[found] = target.labels[truth[found]]
        wanted = boxes[drawn].clone()
        wanted[found] = target.boxes[truth[found]]
        image = torch.full_like(truth, i)
        is_truth = drawn < len(added)
        parts.append(StageSamples(RoIs(boxes[drawn], image), labels, truth, wanted, is_truth))
    return StageSamples(
        RoIs(torch.cat([p.rois.boxes for p in parts]), torch.cat([p.rois.image for p in parts])),
        torch.cat([p.labels for p in parts]),
        torch.cat([p.truth for p in parts]),
        torch.cat([p.boxes for p in parts]),
        torch.cat([p.from_truth for p in parts]),
    )
