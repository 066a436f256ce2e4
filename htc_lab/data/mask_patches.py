"""The masks of a picture's objects, each kept only where it has pixels: kilobytes, not megabytes, a photo."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int, UInt8
from torch import Tensor

Window = tuple[int, int, int, int]
"""Top, left, height, width, px."""


def nearest(old: int, new: int) -> Int[Tensor, " new"]:
    """For each of ``new`` pixels in a row, that of ``old`` ones whose centre is nearest.

    They are those that torch takes when it resizes a map in its mode "nearest-exact".
    """
    places = torch.arange(old, dtype=torch.float32)
    return F.interpolate(places[None, None], size=new, mode="nearest-exact")[0, 0].long()


@dataclass(frozen=True, eq=False)
class MaskPatches:
    """The masks of n objects of one picture.

    Attributes:
        height, width: of the picture, px.
        corners: top and left of each patch, px.
        patches: the smallest rectangle with all pixels of each object, uint8, 1 inside; empty if it has none.
    """

    height: int
    width: int
    corners: list[tuple[int, int]]
    patches: list[np.ndarray]

    @classmethod
    def of(cls, masks: Iterable[np.ndarray], height: int, width: int) -> "MaskPatches":
        """From masks (height, width) uint8, which may be decoded one by one."""
        cut = [_cut(mask, 0, 0) for mask in masks]
        return cls(height, width, [corner for corner, _ in cut], [patch for _, patch in cut])

    def __len__(self) -> int:
        return len(self.patches)

    def select(self, which: list[int]) -> "MaskPatches":
        """Those objects."""
        corners, patches = [self.corners[i] for i in which], [self.patches[i] for i in which]
        return MaskPatches(self.height, self.width, corners, patches)

    def areas(self) -> Int[Tensor, " n"]:
        """How many pixels each has."""
        return torch.tensor([int(patch.sum(dtype=np.int64)) for patch in self.patches], dtype=torch.int64)

    def mirrored(self) -> "MaskPatches":
        """Left to right."""
        corners = [
            (top, self.width - left - patch.shape[1])
            for (top, left), patch in zip(self.corners, self.patches, strict=True)
        ]
        return MaskPatches(self.height, self.width, corners, [patch[:, ::-1] for patch in self.patches])

    def resized(self, height: int, width: int) -> "MaskPatches":
        """Each pixel taken from the nearest one."""
        rows, columns = nearest(self.height, height).numpy(), nearest(self.width, width).numpy()
        cut = []
        for (top, left), patch in zip(self.corners, self.patches, strict=True):
            # The new pixels that come from within the patch are neighbours.
            y0, y1 = np.searchsorted(rows, (top, top + patch.shape[0]))
            x0, x1 = np.searchsorted(columns, (left, left + patch.shape[1]))
            cut.append(_cut(patch[np.ix_(rows[y0:y1] - top, columns[x0:x1] - left)], int(y0), int(x0)))
        return MaskPatches(height, width, [corner for corner, _ in cut], [patch for _, patch in cut])

    def cropped(self, window: Window) -> "MaskPatches":
        """What is inside the window, in its pixels."""
        y, x, height, width = window
        cut = []
        for (top, left), patch in zip(self.corners, self.patches, strict=True):
            y0, x0 = max(y - top, 0), max(x - left, 0)
            part = patch[y0 : max(y + height - top, 0), x0 : max(x + width - left, 0)]
            cut.append(
                ((top + y0 - y, left + x0 - x), part)
                if part.shape == patch.shape
                else _cut(part, top + y0 - y, left + x0 - x)
            )
        return MaskPatches(height, width, [corner for corner, _ in cut], [patch for _, patch in cut])

    def whole(self) -> UInt8[Tensor, "n H W"]:
        """At the picture's size."""
        masks = np.zeros((len(self), self.height, self.width), dtype=np.uint8)
        for mask, (top, left), patch in zip(masks, self.corners, self.patches, strict=True):
            mask[top : top + patch.shape[0], left : left + patch.shape[1]] = patch
        return torch.from_numpy(masks)


def _cut(mask: np.ndarray, top: int, left: int) -> tuple[tuple[int, int], np.ndarray]:
    """The smallest rectangle with all pixels of a mask that begins at ``top``, ``left``, and its corner."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return (0, 0), np.zeros((0, 0), dtype=np.uint8)
    y0, x0 = int(rows[0]), int(columns[0])
    patch = mask[y0 : int(rows[-1]) + 1, x0 : int(columns[-1]) + 1]
    # A copy, so that the picture-sized array is let go.
    return (top + y0, left + x0), patch.astype(np.uint8, copy=True)
