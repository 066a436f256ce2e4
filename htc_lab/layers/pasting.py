"""Pasting: from a soft mask on a box's own grid to the pixels of the picture."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def paste(
    probabilities: Float[Tensor, "n h w"],
    boxes: Float[Tensor, "n 4"],
    height: int,
    width: int,
    threshold: float = 0.5,
) -> Bool[Tensor, "n height width"]:
    """Resample each soft mask over its box and cut it at ``threshold`` (pixels at the threshold are in).

    A pixel takes the bilinear value of the mask at its centre; outside the mask's cells it is 0. Boxes
    are xyxy px of the picture, best on the CPU; a box without area gives an empty mask.
    """
    device = probabilities.device
    out = torch.zeros((len(boxes), height, width), dtype=torch.bool, device=device)
    rows, columns = probabilities.shape[1:]
    # One object at a time and only the pixels near its box: the whole picture for each would be slow.
    for i, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        if x2 <= x1 or y2 <= y1:
            continue
        # Half a cell outside the box the mask still fades out, which a low threshold sees.
        beside, above = 1 + int((x2 - x1) / (2 * columns)), 1 + int((y2 - y1) / (2 * rows))
        left, top = max(int(x1) - beside, 0), max(int(y1) - above, 0)
        right, bottom = min(int(x2) + 1 + beside, width), min(int(y2) + 1 + above, height)
        if right <= left or bottom <= top:
            continue
        box = boxes[i]
        xs = (torch.arange(left, right, device=device) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
        ys = (torch.arange(top, bottom, device=device) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=-1)[None]
        soft = F.grid_sample(probabilities[i][None, None].to(grid.dtype), grid, align_corners=False)
        out[i, top:bottom, left:right] = soft[0, 0] >= threshold
    return out
