"""The same pictures and objects for everyone who is timed: from a seed, without files."""

from dataclasses import dataclass

import torch
from torch import Tensor

CLASSES = 80
SEMANTIC_CLASSES = 183


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """uint8 RGB (3, height, width): noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator).byte()


@dataclass(frozen=True)
class Objects:
    """What is on a picture.

    Attributes:
        boxes: (n, 4) float32, xyxy px.
        labels: (n,) int64, 0..79.
        masks: (n, H, W) uint8: the ellipses in the boxes.
        semantic: (H, W) uint8: tiles of 64 px.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor
    semantic: Tensor


def objects(height: int, width: int, count: int, classes: int = CLASSES, seed: int = 0) -> Objects:
    """``count`` ellipses, their sides a tenth to a half of the picture's."""
    generator = torch.Generator().manual_seed(1000 + seed)
    limits = torch.tensor([width, height], dtype=torch.float32)
    sides = (0.1 + 0.4 * torch.rand((count, 2), generator=generator)) * limits
    corner = torch.rand((count, 2), generator=generator) * (limits - sides)
    boxes = torch.cat([corner, corner + sides], dim=1)
    labels = torch.randint(0, classes, (count,), generator=generator)
    centre, half = corner + sides / 2, sides / 2
    x = (torch.arange(width) + 0.5 - centre[:, :1]) / half[:, :1]
    y = (torch.arange(height) + 0.5 - centre[:, 1:]) / half[:, 1:]
    masks = (x[:, None, :] ** 2 + y[:, :, None] ** 2 <= 1).to(torch.uint8)
    tiles = torch.randint(0, SEMANTIC_CLASSES, (-(-height // 64), -(-width // 64)), generator=generator)
    semantic = tiles.repeat_interleave(64, 0).repeat_interleave(64, 1)[:height, :width]
    return Objects(boxes, labels, masks, semantic.to(torch.uint8))


def proposals_near(boxes: Tensor, height: int, width: int, count: int, seed: int = 0) -> Tensor:
    """(count, 4) boxes a little off the objects', as a trained RPN would say them."""
    generator = torch.Generator().manual_seed(2000 + seed)
    source = boxes[torch.arange(count) % len(boxes)]
    sides = (source[:, 2:] - source[:, :2]).repeat(1, 2)
    moved = source + 0.08 * sides * torch.randn((count, 4), generator=generator)
    return moved.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
