r"""The plain cascade: box and mask heads in T stages, in parallel (eq. 1).

.. math::
    x^{box}_t &= P(x, r_{t-1}),  & r_t &= B_t(x^{box}_t) \\
    x^{mask}_t &= P(x, r_{t-1}), & m_t &= M_t(x^{mask}_t)

x are the backbone's features, r_t the boxes after stage t (r_0 the proposals), P the RoI pooling, B_t and
M_t the heads. Why a cascade: a head trained on boxes with an IoU of 0.5 or more is good at boxes of about
that quality and can't make use of better ones. So each stage passes better boxes to a head that was trained
on better boxes (IoU 0.5, 0.6, 0.7). Why that isn't enough: within a stage, the box and mask branches take
the same boxes r_{t-1} and never meet, and from stage to stage the masks pass on nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.box_head import BoxHead
from htc_lab.layers.box_moves import deltas_of_class, regression_loss
from htc_lab.layers.boxes import decode_deltas
from htc_lab.layers.cascade_config import CascadeConfig, StageConfig
from htc_lab.layers.mask_head import MaskHead
from htc_lab.layers.sampling import StageSamples
from htc_lab.shared_work import Run, call
from htc_lab.structures import RoIs

# P(x, .): from RoIs to features (N, C, size, size).
Pool = Callable[[RoIs], Tensor]


@dataclass(frozen=True)
class BoxOutput:
    """What the box head of one stage predicts for N RoIs.

    Attributes:
        rois: r_{t-1}, the boxes it looked at.
        class_logits: (N, K + 1), background last.
        deltas: (N, 4), in units of the stage's stds, or (N, K, 4) if the head has some for each class.
        features: (N, C, size, size), the features pooled for it.
    """

    rois: RoIs
    class_logits: Float[Tensor, "N classes"]
    deltas: Float[Tensor, "N *K 4"]
    features: Float[Tensor, "N C size size"]

    def deltas_as(self, labels: Int[Tensor, " N"] | None = None) -> Float[Tensor, "N 4"]:
        """The deltas of each RoI as an object of its class (:func:`deltas_of_class`)."""
        return deltas_of_class(self.deltas, self.class_logits, labels)


def look_at_boxes(head: BoxHead, pool: Pool, rois: RoIs) -> BoxOutput:
    """x_t^box = P(x, r_{t-1}), then B_t: class logits and deltas."""
    features = pool(rois)
    class_logits, deltas = head(features)
    return BoxOutput(rois, class_logits, deltas, features)


@torch.no_grad()
def refine(
    output: BoxOutput,
    stage: StageConfig,
    sizes: list[tuple[int, int]],
    labels: Int[Tensor, " N"] | None = None,
) -> RoIs:
    """r_t: the RoIs, moved by the deltas and clipped to their image.

    No gradient flows through a box. Stage t + 1 takes r_t as a given place to look; otherwise the later
    losses would pull on the earlier regression, which has its own loss.

    Args:
        output, stage: of one stage.
        sizes: (height, width) px of each image.
        labels: the class each is moved as.
    """
    rois, deltas = output.rois, output.deltas_as(labels)
    limits = rois.limits(sizes)
    return rois.with_boxes(
        decode_deltas(rois.boxes, deltas, stage.stds, limits, stage.means, stage.largest_ratio)
    )


def run_box_cascade(
    heads: Sequence[BoxHead],
    stages: Sequence[StageConfig],
    pool: Pool,
    proposals: RoIs,
    sizes: list[tuple[int, int]],
) -> tuple[list[BoxOutput], list[RoIs]]:
    """The box half of the cascade at test time.

    Returns:
        Each stage's output, and r_0, r_1, ..., r_T. RoI i is the same object throughout: none is dropped
        along the way, otherwise the stages' scores could not be averaged.
    """
    outputs, boxes = [], [proposals]
    for head, stage in zip(heads, stages, strict=True):
        outputs.append(look_at_boxes(head, pool, boxes[-1]))
        boxes.append(refine(outputs[-1], stage, sizes))
    return outputs, boxes


def class_probabilities(outputs: Sequence[BoxOutput]) -> Float[Tensor, "N K"]:
    """Softmax of the mean of the stages' class logits, without the background column."""
    mean = sum(o.class_logits for o in outputs[1:]) + outputs[0].class_logits
    return (mean / len(outputs)).softmax(dim=1)[:, :-1]


def mask_probabilities(logits: Sequence[Tensor], average: bool) -> Float[Tensor, "N h w"]:
    """The result's mask from the stages' logits: the mean of their sigmoids, or that of the last alone."""
    return torch.stack([each.sigmoid() for each in (logits if average else logits[-1:])]).mean(dim=0)


def masks_in_parallel(
    heads: Sequence[MaskHead],
    features: Float[Tensor, "N C h w"],
    labels: Int[Tensor, " N"],
    run: Run = call,
) -> list[Float[Tensor, "N hh ww"]]:
    """m_t = M_t(x_t^mask) for each stage: every head sees the RoI feature and nothing from the others.

    Only the channel of each RoI's class (``labels``) is returned.
    """
    return [run(head.class_logits, run(head.trunk, features), labels) for head in heads]


def box_losses(
    output: BoxOutput, samples: StageSamples, stage: StageConfig, config: CascadeConfig
) -> tuple[Tensor, Tensor]:
    """Cross-entropy over all samples and, over the positives, smooth L1 (L_cls and L_reg of eq. 7).

    Both are divided by the number of samples, so an image with few objects gives a small L_reg.
    """
    count = max(len(samples.rois), 1)
    cls_loss = F.cross_entropy(output.class_logits, samples.labels, reduction="sum") / count
    positive = samples.places(samples.positive)
    boxes, deltas = samples.rois.boxes[positive], output.deltas_as(samples.labels)[positive]
    return cls_loss, regression_loss(boxes, deltas, samples.boxes[positive], stage, config) / count


def mask_loss(logits: Float[Tensor, "p h w"], targets: Float[Tensor, "p h w"]) -> Tensor:
    """Binary cross-entropy of the true class's channel, mean over positives and pixels (L_mask in eq. 7)."""
    if len(logits) == 0:
        # Zero, but part of the graph: in distributed training every process needs a gradient for each weight.
        return logits.sum()
    return F.binary_cross_entropy_with_logits(logits, targets)
