"""Mask targets: the ground truth's mask seen through a RoI, on the mask head's grid."""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from htc_lab.light_torchvision import roi_align
from htc_lab.transfer import send


def mask_targets(
    masks: UInt8[Tensor, "n H W"], index: Int[Tensor, " p"], boxes: Float[Tensor, "p 4"], size: int
) -> Float[Tensor, "p size size"]:
    """Crop mask ``index[i]`` to box ``i`` and bring it to size x size, values 0 or 1.

    Boxes (xyxy px) are first clipped to the image. A cell is 1 where at least half of it is object. ``index``
    is best on the CPU, as a GPU would be waited for to learn which masks are needed.
    """
    height, width = masks.shape[-2:]
    limit = torch.tensor([width, height, width, height], dtype=boxes.dtype)
    clipped = torch.minimum(boxes.clamp(min=0), send(limit, boxes.device))
    # Masks are cropped as the images of a batch: only those some box asks for are turned to float.
    used, place = index.unique(return_inverse=True)
    rois = torch.cat([send(place, boxes.device)[:, None].to(clipped), clipped], dim=1)
    asked = masks[send(used, masks.device), None].to(boxes.dtype)
    soft = roi_align(asked, rois, (size, size), 1.0, 0, aligned=True)
    return (soft.squeeze(1) >= 0.5).to(boxes.dtype)
