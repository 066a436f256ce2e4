"""Non-maximum suppression in the images of a batch: of boxes that overlap, the best one stays."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.light_torchvision import batched_nms, nms
from htc_lab.structures import RoIs
from htc_lab.transfer import fetch


def best_of_each_image(
    rois: RoIs,
    scores: Float[Tensor, " N"],
    groups: Int[Tensor, " N"],
    images: int,
    iou: float,
    most: int,
) -> Int[Tensor, " k"]:
    """Which boxes stay: a box goes if it overlaps a better one of its image and group by more than ``iou``.

    Args:
        rois: boxes of a batch.
        scores: the higher, the better.
        groups: 0, 1, ...: boxes of two groups (levels, classes) never suppress each other.
        images: B, images in the batch.
        iou: the threshold.
        most: at most this many stay in an image.

    Returns:
        Indices into ``rois``; images in order, best first within one.
    """
    # NMS costs boxes times boxes, so images are best taken one after the other. But each NMS ends in a wait
    # for the GPU, which has the cores for all of them together.
    run = _all_at_once if rois.boxes.device.type == "cuda" else _image_by_image
    return run(rois, scores, groups, images, iou, most)


def _image_by_image(
    rois: RoIs, scores: Tensor, groups: Tensor, images: int, iou: float, most: int
) -> Int[Tensor, " k"]:
    counts = torch.bincount(fetch(rois.image), minlength=images).tolist()
    kept, start = [], 0
    for boxes, score, group in zip(
        rois.boxes.split(counts), scores.split(counts), groups.split(counts), strict=True
    ):
        kept.append(start + batched_nms(boxes, score, group, iou)[:most])
        start += len(boxes)
    return torch.cat(kept)


def _all_at_once(
    rois: RoIs, scores: Tensor, groups: Tensor, images: int, iou: float, most: int
) -> Int[Tensor, " k"]:
    if len(rois) == 0:
        return rois.image
    # Every group of every image is moved to a place of its own. In float64, where the move costs no digit
    # that matters: in float32 an image's boxes would round differently in another batch.
    place = rois.image * (groups.max() + 1) + groups
    apart = rois.boxes.double() + (place * (rois.boxes.max() + 1).double())[:, None]
    best_first = nms(apart, scores.double(), iou)
    image = rois.image[best_first]
    order = image.argsort(stable=True)
    first = torch.searchsorted(image[order], torch.arange(images, device=image.device))
    rank = torch.arange(len(order), device=image.device) - first[image[order]]
    return best_first[order][rank < most]
