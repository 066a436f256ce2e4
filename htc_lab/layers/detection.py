"""From scored RoIs to detections: threshold, NMS within a class, the best few."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import batched_nms

from htc_lab.config import CascadeConfig
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
    kept_roi, kept_label, kept_score = [], [], []
    for i in range(images):
        here = torch.nonzero(rois.image == i).squeeze(1)
        score = probabilities[here]
        row, label = torch.nonzero(score > config.score_threshold, as_tuple=True)
        roi, score = here[row], score[row, label]
        keep = batched_nms(rois.boxes[roi], score, label, config.nms_iou)[: config.max_detections]
        kept_roi.append(roi[keep])
        kept_label.append(label[keep])
        kept_score.append(score[keep])
    return torch.cat(kept_roi), torch.cat(kept_label), torch.cat(kept_score)
