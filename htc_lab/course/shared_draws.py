"""Random data for the test cases of exercises: the same seed gives the same data, sizes included."""

import numpy as np
import torch
from torch import Tensor


def generator_of(seed: int) -> torch.Generator:
    """The generator for a seed."""
    return torch.Generator().manual_seed(seed)


def whole(g: torch.Generator, low: int, high: int) -> int:
    """A random integer from ``low`` to ``high``, both included."""
    return int(torch.randint(low, high + 1, (1,), generator=g))


def some_boxes(g: torch.Generator, count: int, width: float = 64.0, height: float = 48.0) -> Tensor:
    """Random boxes (count, 4) float32 xyxy px, each at least 4 px wide and high, within width x height."""
    size = 4 + torch.rand((count, 2), generator=g) * torch.tensor([width / 2 - 4, height / 2 - 4])
    corner = torch.rand((count, 2), generator=g) * (torch.tensor([width, height]) - size)
    return torch.cat([corner, corner + size], dim=1)


def shaken(g: torch.Generator, boxes: Tensor, count: int, by: float = 0.15) -> Tensor:
    """(count, 4) boxes, each near one of ``boxes``: its corners moved by up to ``by`` times its size."""
    chosen = boxes[torch.randint(len(boxes), (count,), generator=g)]
    size = (chosen[:, 2:] - chosen[:, :2]).repeat(1, 2)
    return chosen + (torch.rand((count, 4), generator=g) - 0.5) * 2 * by * size


def some_masks(g: torch.Generator, count: int, height: int = 24, width: int = 32) -> np.ndarray:
    """(count, height, width) uint8: overlapping filled ellipses, each with at least one pixel."""
    ys, xs = np.mgrid[:height, :width]
    masks = np.zeros((count, height, width), dtype=np.uint8)
    for mask in masks:
        x, y, a, b = torch.rand(4, generator=g).tolist()
        inside = ((xs - x * (width - 1)) / (2 + a * width / 4)) ** 2
        inside = inside + ((ys - y * (height - 1)) / (2 + b * height / 4)) ** 2
        mask[inside <= 1] = 1
    return masks
