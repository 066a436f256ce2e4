"""What the parts of the cascade hand on: boxes and detections to the masks, samples to the losses."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.config import StageConfig
from htc_lab.layers.sampling import StageSamples
from htc_lab.stages.plain_cascade import BoxOutput
from htc_lab.structures import RoIs

Choice = Callable[[Tensor], Tensor]
"""Places of the detections that count, of (T + 1, D) scores: at each stage, and last the result's."""


@dataclass(frozen=True)
class Found:
    """The box half of a run at test time, of N RoIs and D detections.

    Attributes:
        outputs: by stage, what its box head looked at and said.
        boxes: r_0, r_1, ..., r_T, of N boxes each.
        detected: (D,) the RoI of each detection.
        labels, scores: (D,) of the detections.
        of_classes: (N, K, 4) xyxy px, r_T as each class has it; None where the classes share their deltas.
    """

    outputs: list[BoxOutput]
    boxes: list[RoIs]
    detected: Int[Tensor, " D"]
    labels: Int[Tensor, " D"]
    scores: Float[Tensor, " D"]
    of_classes: Float[Tensor, "N K 4"] | None = None

    def final(self) -> RoIs:
        """The boxes of the D detections."""
        rois = self.boxes[-1].select(self.detected)
        return (
            rois if self.of_classes is None else rois.with_boxes(self.of_classes[self.detected, self.labels])
        )

    def chosen(self, choose: Choice) -> "Found":
        """The same with the chosen detections alone."""
        alone = [output.class_logits.softmax(dim=1)[self.detected, self.labels] for output in self.outputs]
        keep = choose(torch.stack([*alone, self.scores]))
        return replace(self, detected=self.detected[keep], labels=self.labels[keep], scores=self.scores[keep])


@dataclass(frozen=True)
class TrainingStage:
    """One stage in training.

    Attributes:
        stage: its numbers.
        samples: the RoIs drawn from r_{t-1}, with the truth of each.
        output: what its box head says of them.
        for_masks: the positives its mask head is trained on.
    """

    stage: StageConfig
    samples: StageSamples
    output: BoxOutput
    for_masks: StageSamples
