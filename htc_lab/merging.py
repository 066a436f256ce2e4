"""The arithmetic of merging what several views or models say of one picture, all in the picture's pixels.

As in version 2 of the reference (``merge_augs``): one NMS over the union of the proposals, so that all look
at the same RoIs; then, RoI by RoI, the mean of their boxes, scores and masks. Where each looks at RoIs of its
own there is no such mean; :func:`one_hot` makes the detections of all rivals in one NMS instead.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.nms import best_of_each_image
from htc_lab.structures import RoIs


def merged_proposals(
    boxes: Sequence[Float[Tensor, "_ 4"]], scores: Sequence[Float[Tensor, " _"]], iou: float, most: int
) -> tuple[Float[Tensor, "N 4"], Float[Tensor, " N"]]:
    """One NMS over the union of several sets of proposals.

    Args:
        boxes: (n_v, 4) xyxy px of the picture, by view.
        scores: (n_v,) their objectness.
        iou: of two that overlap more, the better one stays, whatever pyramid levels they come from.
        most: at most so many stay.

    Returns:
        Boxes and scores, best first.
    """
    union, score = torch.cat(list(boxes)), torch.cat(list(scores))
    alike = torch.zeros(len(union), dtype=torch.long, device=union.device)
    keep = best_of_each_image(RoIs(union, alike), score, alike, 1, iou, most)
    return union[keep], score[keep]


def mean(values: Sequence[Float[Tensor, "*shape"]]) -> Float[Tensor, "*shape"]:
    """The mean over views or models of boxes, scores or masks of the same RoIs, each counting the same."""
    return torch.stack(list(values)).mean(dim=0)


def one_hot(scores: Float[Tensor, " D"], labels: Int[Tensor, " D"], classes: int) -> Float[Tensor, "D K"]:
    """Detections as RoIs that score in one class, and 0 in the others."""
    return scores.new_zeros((len(scores), classes)).scatter(1, labels[:, None], scores[:, None])
