"""A convolution and the batch norm after it as one, and torchvision's residual blocks made of such pairs.

With stored statistics the pair is one convolution (:func:`htc_lab.layers.norm.folded`), so that the maps are
not gone through again, and not kept for a backward pass. The gradients of the norm's own weights come through
the product.
"""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from htc_lab.layers.conv import convolve
from htc_lab.layers.deformable import DeformConv
from htc_lab.layers.norm import AnyBatchNorm, folded
from htc_lab.light_torchvision import BasicBlock, Bottleneck

_PARTS: dict[type[nn.Module], set[str]] = {
    BasicBlock: {"conv1", "bn1", "relu", "conv2", "bn2"},
    Bottleneck: {"conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "relu"},
}


def normed(
    x: Tensor,
    conv: nn.Conv2d | DeformConv,
    norm: AnyBatchNorm,
    relu: bool = False,
    onto: Tensor | None = None,
) -> Tensor:
    """Convolution, then batch norm, plus ``onto`` (which may be overwritten), then ReLU if asked for."""
    if norm.training or isinstance(conv, DeformConv):
        out: Tensor = norm(conv(x))
        if onto is not None:
            out = out + onto
        return F.relu(out, inplace=True) if relu else out
    weight, offset = folded(conv.weight, norm)
    padding = cast(tuple[int, ...], conv.padding)
    return convolve(x, weight, offset, conv.stride, padding, conv.groups, relu, onto)


def knows(block: nn.Module) -> bool:
    """Whether :func:`residual` computes all that the block does.

    It does for torchvision's two blocks, just as torchvision makes them or with deformable convolutions. A
    subclass, a further module (say squeeze-and-excitation) or another kind of norm is for the block's own
    ``forward``.
    """
    parts = dict(block.named_children())
    shortcut = parts.pop("downsample", None)
    return (
        parts.keys() == _PARTS.get(type(block))
        and all(_is_plain(part) for part in parts.values())
        and (shortcut is None or _is_shortcut(shortcut))
    )


def _is_plain(part: nn.Module) -> bool:
    if type(part) is nn.Conv2d:
        return part.bias is None and part.dilation == (1, 1) and part.padding_mode == "zeros"
    if type(part) in (nn.BatchNorm2d, nn.SyncBatchNorm):
        return bool(part.affine and part.track_running_stats)
    return type(part) in (nn.ReLU, DeformConv)


def _is_shortcut(part: nn.Module) -> bool:
    pair = list(part.children())
    return type(part) is nn.Sequential and len(pair) == 2 and all(_is_plain(each) for each in pair)


def residual(x: Tensor, block: BasicBlock | Bottleneck) -> Tensor:
    """The output of a block that this module :func:`knows`; ``x`` may be overwritten with it."""
    out = normed(x, block.conv1, block.bn1, relu=True)
    # A level that is returned is never overwritten: the layer after it begins with a downsampling.
    if block.downsample is not None:
        conv, norm = cast(tuple[nn.Conv2d, AnyBatchNorm], block.downsample)
        x = normed(x, conv, norm)
    if isinstance(block, Bottleneck):
        out = normed(out, block.conv2, block.bn2, relu=True)
        return normed(out, block.conv3, block.bn3, relu=True, onto=x)
    return normed(out, block.conv2, block.bn2, relu=True, onto=x)
