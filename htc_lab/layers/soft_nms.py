"""Soft-NMS: a detection that overlaps a better one isn't dropped, its score falls (arXiv 1704.04503)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.boxes import pairwise_iou
from htc_lab.layers.soft_nms_config import SoftNMSConfig
from htc_lab.structures import RoIs
from htc_lab.transfer import fetch


def soft_nms(
    rois: RoIs,
    scores: Float[Tensor, " N"],
    groups: Int[Tensor, " N"],
    images: int,
    config: SoftNMSConfig,
    most: int,
) -> tuple[Int[Tensor, " k"], Float[Tensor, " k"]]:
    """The best boxes of each image, one after the other, each lowering the scores of those it overlaps.

    The box b with the highest score s_b is taken out; for every other box i of its image and group

        linear:    s_i <- s_i (1 - IoU(b, i))  where IoU(b, i) >= iou
        gaussian:  s_i <- s_i exp(-IoU(b, i)^2 / sigma)

    Those below ``min_score`` are dropped, and the next best is taken. The best box of an image always stays.

    Args:
        rois: boxes of a batch.
        scores: the higher, the better, at least 0.
        groups: 0, 1, ...: boxes of two groups (classes) don't lower each other's score.
        images: B, images in the batch.
        config: the decay and its numbers.
        most: at most so many stay in an image.

    Returns:
        Indices into ``rois``, images in order, best first within one; and the scores they ended with.
    """
    counts = torch.bincount(fetch(rois.image), minlength=images).tolist()
    kept, final, start = [], [], 0
    for boxes, score, group in zip(
        rois.boxes.split(counts), scores.split(counts), groups.split(counts), strict=True
    ):
        taken, ended = _one_image(boxes, score, group, config, most)
        kept.append(start + taken)
        final.append(ended)
        start += len(boxes)
    return torch.cat(kept), torch.cat(final)


def _one_image(
    boxes: Tensor, scores: Tensor, groups: Tensor, config: SoftNMSConfig, most: int
) -> tuple[Int[Tensor, " k"], Float[Tensor, " k"]]:
    # Scores only fall, so boxes are taken in the order of their final scores: the first `most` are the best.
    # Nothing in the loop waits for the device: whatever is gone scores -1 and is left out at the end.
    left, gone = scores, torch.zeros_like(scores, dtype=torch.bool)
    places, ended = [groups[:0]], [scores[:0]]
    for _ in range(min(most, len(boxes))):
        best = left.masked_fill(gone, -1.0).argmax(dim=0, keepdim=True)
        places.append(best)
        ended.append(left[best].masked_fill(gone[best], -1.0))
        weight = _weight(pairwise_iou(boxes[best], boxes)[0], config)
        left = torch.where(groups == groups[best], left * weight, left)
        gone = gone | (left < config.min_score)
        gone[best] = True
    taken, score = torch.cat(places), torch.cat(ended)
    there = score >= 0
    return taken[there], score[there]


def _weight(overlap: Float[Tensor, " n"], config: SoftNMSConfig) -> Float[Tensor, " n"]:
    """What the scores of boxes with this IoU are multiplied by."""
    if config.decay == "gaussian":
        return torch.exp(-overlap.square() / config.sigma)
    return torch.where(overlap >= config.iou, 1 - overlap, torch.ones_like(overlap))
