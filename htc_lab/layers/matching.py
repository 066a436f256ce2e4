"""Which ground truth a box is matched to, and which boxes the loss looks at."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from htc_lab.layers.boxes import pairwise_iou

# Where random draws come from: one generator for a whole batch, one for each image (so that an image's draws
# do not depend on the rest of the batch), or torch's global one.
Draws = torch.Generator | Sequence[torch.Generator] | None

BACKGROUND = -1
IGNORED = -2


@dataclass(frozen=True)
class Matches:
    """The verdict on each of n boxes.

    Attributes:
        index: (n,) int64: the matched ground truth, BACKGROUND (-1) or IGNORED (-2).
        iou: (n,) float32: the best overlap with any ground truth.
    """

    index: Int[Tensor, " n"]
    iou: Float[Tensor, " n"]


def match(
    boxes: Float[Tensor, "n 4"],
    truth: Float[Tensor, "g 4"],
    positive_iou: float,
    negative_iou: float,
    low_quality_iou: float | None,
    comparable: Bool[Tensor, "n #g"] | None = None,
) -> Matches:
    """Match boxes to ground truth by overlap.

    Boxes at or above ``positive_iou`` take the ground truth they overlap most, boxes below
    ``negative_iou`` are background, those between are ignored. With ``low_quality_iou``, each ground
    truth whose best overlap reaches it also takes every box that has just that overlap, so that no
    object goes without; a later ground truth takes precedence over an earlier one.

    A pair that is not ``comparable`` doesn't overlap: of two images, or with a box that is left out.
    """
    iou = pairwise_iou(boxes, truth)
    return match_overlaps(iou, positive_iou, negative_iou, low_quality_iou, comparable)


def match_overlaps(
    iou: Float[Tensor, "n g"],
    positive_iou: float,
    negative_iou: float,
    low_quality_iou: float | None,
    comparable: Bool[Tensor, "n #g"] | None = None,
) -> Matches:
    """:func:`match`, by overlaps that are known already."""
    boxes, truth = iou.shape
    if truth == 0 or boxes == 0:
        return Matches(torch.full((boxes,), BACKGROUND, device=iou.device), iou.new_zeros(boxes))
    if comparable is not None:
        # Below 0, so that not even a threshold of 0 is reached.
        iou = torch.where(comparable, iou, -1.0)
    best, best_truth = iou.max(dim=1)
    index = torch.where(best < negative_iou, BACKGROUND, IGNORED)
    index = torch.where(best >= positive_iou, best_truth, index)
    if low_quality_iou is not None:
        best_of_truth = iou.max(dim=0).values
        takes = (iou == best_of_truth) & (best_of_truth >= low_quality_iou)
        order = torch.arange(1, truth + 1, device=iou.device)
        last_taker = (takes * order).max(dim=1).values - 1
        index = torch.where(last_taker >= 0, last_taker, index)
    return Matches(index, best.clamp(min=0))


def draws_of(draws: Draws, image: int) -> torch.Generator | None:
    """The generator for an image of the batch."""
    return draws[image] if isinstance(draws, Sequence) else draws


def sample(
    index: Int[Tensor, " n"],
    count: int,
    positive_fraction: float,
    generator: torch.Generator | None = None,
    negatives_per_positive: float = -1.0,
) -> tuple[Int[Tensor, " p"], Int[Tensor, " q"]]:
    """Draw the boxes of one image that enter the loss: at most ``count``, at most a fraction positive.

    Args:
        index: what :func:`match` says of all boxes, on the CPU: how many are drawn depends on it.
        count, positive_fraction: how many.
        generator: what draws.
        negatives_per_positive: if it isn't below 0, it bounds the background boxes too; an image without
            positives keeps as many as an image with one.

    Returns:
        Indices of the positives and of the background boxes, each in rising order. Nothing is drawn if
        everything fits.
    """
    positive = torch.nonzero(index >= 0).squeeze(1)
    negative = torch.nonzero(index == BACKGROUND).squeeze(1)
    positive = _draw(positive, int(count * positive_fraction), generator)
    room = count - len(positive)
    if negatives_per_positive >= 0:
        room = min(room, int(negatives_per_positive * max(len(positive), 1)))
    negative = _draw(negative, room, generator)
    return positive, negative


def _draw(indices: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    if len(indices) <= count:
        return indices
    # On the CPU like everything here, so that a seed gives the same sequence on every device.
    chosen = torch.randperm(len(indices), generator=generator)[:count]
    return indices[chosen].sort().values
