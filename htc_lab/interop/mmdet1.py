"""Checkpoints of mmdet 1 under the names of mmdet 2 and 3.

Version 2 moved the heads into a ``roi_head`` and made the background the last class; in version 1 it was the
first. So the rows of the class layers are reordered. Two things can't be converted: version 1 counted a box
from its first pixel to its last, which makes it a pixel wider, and pooled RoIs half a pixel off.
"""

import re

import torch
from torch import Tensor

from htc_lab.interop.wrappers import BOX_HEAD, OLD_BOX_HEAD, Records

NOTE = (
    "is of mmdet 1: names and the order of classes are converted; boxes and RoI pooling were defined "
    "differently then (a pixel wider, half a pixel off), so its AP here is lower until it is fine-tuned "
    "(htc-lab train --init)"
)

_HEADS = re.compile(r"^(bbox_head|mask_head|semantic_head|shared_head|feat_relay_head|glbctx_head)\.")
_CLASSES = re.compile(r"^roi_head\.bbox_head\.\d+\.fc_cls\.(weight|bias)$")
_BOXES = re.compile(r"^roi_head\.bbox_head\.\d+\.fc_reg\.(weight|bias)$")
_MASKS = re.compile(r"^roi_head\.mask_head\.\d+\.conv_logits\.(weight|bias)$")


def is_of_mmdet_1(records: Records) -> bool:
    """Whether these are the names of version 1."""
    return OLD_BOX_HEAD in records and BOX_HEAD not in records


def renamed(records: Records) -> Records:
    """The same entries under the names of mmdet 2 and 3."""
    return {_HEADS.sub(r"roi_head.\1.", name): value for name, value in records.items()}


def reordered(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights, already renamed, with the background last.

    Args:
        weights: by name; the box heads' class layers have K + 1 rows, the background's first.
    """
    return {name: _reordered(name, value, _rows(weights[BOX_HEAD])) for name, value in weights.items()}


def _rows(value: Tensor) -> int:
    # A damaged file may hold a single number under any name.
    return value.shape[0] if value.ndim else 0


def _reordered(name: str, value: Tensor, rows: int) -> Tensor:
    if _CLASSES.match(name) and _rows(value):
        return torch.cat((value[1:], value[:1]))
    # Where boxes or masks are made for each class, the background had some, too.
    if _BOXES.match(name) and _rows(value) == 4 * rows:
        return value[4:].contiguous()
    if _MASKS.match(name) and _rows(value) == rows:
        return value[1:].contiguous()
    return value
