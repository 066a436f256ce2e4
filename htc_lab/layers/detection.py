"""From scored RoIs to detections: threshold, NMS within a class, the best few."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.cascade_config import CascadeConfig
from htc_lab.layers.nms import best_of_each_image
from htc_lab.structures import RoIs


def detect(
    rois: RoIs, probabilities: Float[Tensor, "N K"], images: int, config: CascadeConfig
) -> tuple[Int[Tensor, " D"], Int[Tensor, " D"], Float[Tensor, " D"]]:
    """Pick the detections of each image.

    Args:
        rois: final boxes.
        probabilities: of the K classes, background left out.
        images: B, images in the batch.
        config: score threshold, NMS IoU, most detections an image.

    Returns:
        For each detection its RoI (index into ``rois``), its class and its score; images in order,
        best first within one. A RoI may be detected as more than one class.
    """
    # RoIs are sorted by image, so those that pass the threshold are too.
    roi, label = torch.nonzero(probabilities > config.score_threshold, as_tuple=True)
    score = probabilities[roi, label]
    keep = best_of_each_image(rois.select(roi), score, label, images, config.nms_iou, config.max_detections)
    return roi[keep], label[keep], score[keep]
