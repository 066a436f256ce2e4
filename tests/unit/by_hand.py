"""Equations 1 to 6 and SCNet's relay, written out with bare tensor operations, to hold the stages against.

Nothing of ``htc_lab.stages`` or ``htc_lab.layers`` is used here; only weights are taken from the model.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from htc_lab.model import HybridTaskCascade
from htc_lab.structures import Features


def pooled(model: HybridTaskCascade, features: Features, boxes: Tensor, size: int, context: bool) -> Tensor:
    """P(x, r), and with ``context`` P(x, r) + P(S(x), r), for boxes (N, 4) of a batch of one; RoI by RoI."""
    c = model.config.cascade
    rows = []
    for box in boxes:
        side = math.sqrt(float((box[2] - box[0]) * (box[3] - box[1])))
        level = 0
        while level < c.pooled_levels - 1 and side >= c.finest_scale * 2 ** (level + 1):
            level += 1
        scale = 1 / (4 * 2**level)
        row = roi_align(
            features.levels[level], [box[None]], size, scale, sampling_ratio=c.sampling_ratio, aligned=True
        )
        if context:
            seen = roi_align(
                features.semantic_feature,
                [box[None]],
                14,
                1 / 4,
                sampling_ratio=c.sampling_ratio,
                aligned=True,
            )
            if size == 7:
                seen = F.avg_pool2d(seen, 2)
            row = row + seen
        rows.append(row)
    return torch.cat(rows)


def box_head(model: HybridTaskCascade, t: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """B_t."""
    head = model.roi_head.bbox_head[t]
    hidden = x.reshape(len(x), -1)
    for layer in head.shared_fcs:
        hidden = (hidden @ layer.weight.T + layer.bias).clamp(min=0)
    return hidden @ head.fc_cls.weight.T + head.fc_cls.bias, hidden @ head.fc_reg.weight.T + head.fc_reg.bias


def moved(model: HybridTaskCascade, t: int, boxes: Tensor, deltas: Tensor, size: tuple[int, int]) -> Tensor:
    """r_t from r_{t-1}."""
    sx, sy, sw, sh = model.config.cascade.stages[t].stds
    rows = []
    for (x1, y1, x2, y2), (dx, dy, dw, dh) in zip(boxes.tolist(), deltas.tolist(), strict=True):
        w, h = x2 - x1, y2 - y1
        cx, cy = (x1 + x2) / 2 + w * dx * sx, (y1 + y2) / 2 + h * dy * sy
        most = math.log(1000 / 16)
        w, h = w * math.exp(max(-most, min(most, dw * sw))), h * math.exp(max(-most, min(most, dh * sh)))
        corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        rows.append([max(0.0, min(v, float(size[1 - i % 2]))) for i, v in enumerate(corners)])
    return torch.tensor(rows)


def trunk(model: HybridTaskCascade, t: int, x: Tensor) -> Tensor:
    """M-_t."""
    for layer in model.roi_head.mask_head[t].convs:
        x = F.conv2d(x, layer.conv.weight, layer.conv.bias, padding=1).clamp(min=0)
    return x


def relay(model: HybridTaskCascade, t: int, x: Tensor) -> Tensor:
    """R(h_t(x)): 7x7 cells, each corner of the 14x14 on one of theirs, straight lines between."""
    for layer in model.roi_head.bbox_head[t].shared_fcs:
        x = (x.reshape(len(x), -1) @ layer.weight.T + layer.bias).clamp(min=0)
    fc = model.roi_head.feat_relay_head.fc
    cells = (x @ fc.weight.T + fc.bias).reshape(len(x), -1, 7, 7)
    between = torch.zeros(14, 7)
    for i in range(14):
        before, share = divmod(i * 6, 13)
        between[i, before] = 1 - share / 13
        if share:
            between[i, before + 1] = share / 13
    return between @ cells @ between.T


def flow(model: HybridTaskCascade, t: int, m: Tensor) -> Tensor:
    """G_t."""
    layer = model.roi_head.mask_head[t].conv_res
    return F.conv2d(m, layer.conv.weight, layer.conv.bias).clamp(min=0)


def mask_logits(model: HybridTaskCascade, t: int, m: Tensor) -> Tensor:
    """From the mask feature m-_t to m_t, all classes."""
    head = model.roi_head.mask_head[t]
    up = F.conv_transpose2d(m, head.upsample.weight, head.upsample.bias, stride=2).clamp(min=0)
    return F.conv2d(up, head.conv_logits.weight, head.conv_logits.bias)
