"""From scored RoIs to detections: threshold, NMS or soft-NMS within a class, the best few."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.cascade_config import CascadeConfig
from htc_lab.layers.nms import best_of_each_image
from htc_lab.layers.soft_nms import soft_nms
from htc_lab.structures import RoIs


def detect(
    rois: RoIs,
    probabilities: Float[Tensor, "N K"],
    images: int,
    config: CascadeConfig,
    of_classes: Float[Tensor, "N K 4"] | None = None,
) -> tuple[Int[Tensor, " D"], Int[Tensor, " D"], Float[Tensor, " D"]]:
    """Pick the detections of each image.

    Args:
        rois: final boxes.
        probabilities: of the K classes, background left out.
        images: B, images in the batch.
        config: score threshold, NMS IoU or soft-NMS, most detections an image.
        of_classes: each RoI's box for each class, where they differ; None: it is the RoI.

    Returns:
        For each detection its RoI (index into ``rois``), its class and its score, which soft-NMS may have
        lowered; images in order, best first within one. A RoI may be detected as more than one class.
    """
    # RoIs are sorted by image, so those that pass the threshold are too.
    roi, label = torch.nonzero(probabilities > config.score_threshold, as_tuple=True)
    score, boxes = probabilities[roi, label], rois.select(roi)
    if of_classes is not None:
        boxes = boxes.with_boxes(of_classes[roi, label])
    if config.soft_nms is None:
        keep = best_of_each_image(boxes, score, label, images, config.nms_iou, config.max_detections)
        return roi[keep], label[keep], score[keep]
    keep, lowered = soft_nms(boxes, score, label, images, config.soft_nms, config.max_detections)
    return roi[keep], label[keep], lowered
