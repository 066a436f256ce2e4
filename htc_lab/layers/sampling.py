"""The RoIs a stage is trained on: matched at the stage's IoU, sampled, with the ground truth among them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from htc_lab.layers.cascade_config import CascadeConfig, StageConfig
from htc_lab.layers.matching import BACKGROUND, Draws, Matches, draws_of, match, sample
from htc_lab.structures import RoIs, Targets
from htc_lab.transfer import fetch, send


@dataclass(frozen=True)
class StageSamples:
    """RoIs with what they should become; images in order, within one positives come first.

    Everything that decides which of them are used stays on the CPU, where it was drawn, so that choosing
    among them never waits for a GPU.

    Attributes:
        rois: the sampled RoIs of the batch.
        labels: (N,) int64: the class to predict; K means background.
        boxes: (N, 4) float32, the matched ground-truth box; the RoI itself for background.
        truth: (N,) int64, on the CPU: index into the image's ground truth, -1 for background.
        from_truth: (N,) bool, on the CPU: this RoI is a ground-truth box that was added to the proposals.
        image: (N,) int64, on the CPU: ``rois.image``.
    """

    rois: RoIs
    labels: Int[Tensor, " N"]
    boxes: Float[Tensor, "N 4"]
    truth: Int[Tensor, " N"]
    from_truth: Bool[Tensor, " N"]
    image: Int[Tensor, " N"]

    @property
    def positive(self) -> Bool[Tensor, " N"]:
        """Which of them have an object; on the CPU."""
        return self.truth >= 0

    def places(self, which: Bool[Tensor, " N"]) -> Int[Tensor, " n"]:
        """Where a mask on the CPU is set, as indices on the RoIs' device."""
        return send(torch.nonzero(which).squeeze(1), self.labels.device)

    def select(self, which: Bool[Tensor, " N"]) -> "StageSamples":
        """Those where ``which``, a mask on the CPU, is set."""
        places = self.places(which)
        return StageSamples(
            self.rois.select(places),
            self.labels[places],
            self.boxes[places],
            self.truth[which],
            self.from_truth[which],
            self.image[which],
        )


@dataclass(frozen=True)
class _Objects:
    """The ground truth of all images, one after the other: (G, 4) boxes, (G,) labels, (G,) image of each."""

    boxes: Tensor
    labels: Tensor
    image: Tensor

    @classmethod
    def of(cls, targets: list[Targets]) -> "_Objects":
        rois = RoIs.of([target.boxes for target in targets])
        return cls(rois.boxes, torch.cat([target.labels for target in targets]), rois.image)


@dataclass(frozen=True)
class _Drawn:
    """The RoIs that were drawn; all on the CPU.

    Attributes:
        row: (n,) int64, place in the list of all objects' boxes followed by all RoIs.
        truth: (n,) int64, its object, counted through the batch; -1 for background.
        image: (n,) int64.
    """

    row: Int[Tensor, " n"]
    truth: Int[Tensor, " n"]
    image: Int[Tensor, " n"]


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
    when no proposal found it. Nothing here carries a gradient: the position of a box comes from the stage
    before, whose loss has already judged it.
    """
    objects = _Objects.of(targets)
    low_quality = stage.iou if config.low_quality_matches else None
    same_image = rois.image[:, None] == objects.image
    matches = match(rois.boxes, objects.boxes, stage.iou, stage.iou, low_quality, same_image)
    counts = [len(target.boxes) for target in targets]
    drawn = _draw(matches, rois, counts, config, generator)
    return _labelled(drawn, rois, objects, counts, classes)


def _draw(matches: Matches, rois: RoIs, counts: list[int], config: CascadeConfig, generator: Draws) -> _Drawn:
    """Which RoIs are drawn; ``counts`` are the objects of each image."""
    # All that the draw has to know, in one wait for the whole batch.
    index, lies_in = fetch(torch.stack([matches.index, rois.image]))
    rows, truth, images = [], [], []
    objects = torch.arange(sum(counts))
    for i, own in enumerate(objects.split(counts)):
        here = torch.nonzero(lies_in == i).squeeze(1)
        # Ground-truth boxes join after the matching: each stands for its own object, and none of them
        # may be the "best overlap" that a low-quality match asks for.
        added = own if config.add_truth else own[:0]
        matched = torch.cat([added, index[here]])
        drawn = torch.cat(
            sample(
                matched,
                config.samples,
                config.positive_fraction,
                draws_of(generator, i),
                config.negatives_per_positive,
            )
        )
        rows.append(torch.cat([added, len(objects) + here])[drawn])
        truth.append(matched[drawn])
        images.append(torch.full_like(drawn, i))
    return _Drawn(torch.cat(rows), torch.cat(truth), torch.cat(images))


def _labelled(drawn: _Drawn, rois: RoIs, objects: _Objects, counts: list[int], classes: int) -> StageSamples:
    """What each drawn RoI should become."""
    row, truth = (send(places, rois.boxes.device) for places in (drawn.row, drawn.truth))
    boxes = torch.cat([objects.boxes, rois.boxes])[row]
    # The background has index -1 and so takes the last entry.
    labels = torch.cat([objects.labels, objects.labels.new_full((1,), classes)])[truth]
    theirs = torch.cat([objects.boxes, objects.boxes.new_zeros(1, 4)])[truth]
    first = torch.tensor([sum(counts[:i]) for i in range(len(counts))])
    return StageSamples(
        RoIs(boxes, send(drawn.image, rois.boxes.device)),
        labels,
        torch.where(truth[:, None] >= 0, theirs, boxes),
        torch.where(drawn.truth >= 0, drawn.truth - first[drawn.image], BACKGROUND),
        drawn.row < len(objects.boxes),
        drawn.image,
    )
