"""The ground truth of a picture in little memory, from which that of a part of it is made quickly."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from htc_lab.data.mask_patches import MaskPatches, Window, nearest
from htc_lab.structures import Targets

LEAST_PIXELS = 16
LEAST_SHARE = 0.3
"""An object cut by a crop's border stays if so many of its pixels, and such a share of them, are inside."""


def scaled_boxes(
    boxes: Float[Tensor, "n 4"], scale_x: float, scale_y: float, height: int, width: int
) -> Float[Tensor, "n 4"]:
    """Boxes (xyxy px) of a picture that was brought to ``height`` x ``width`` px by these factors."""
    limits = torch.tensor([width, height, width, height])
    return torch.minimum(boxes * torch.tensor([scale_x, scale_y, scale_x, scale_y]), limits)


@dataclass(frozen=True, eq=False)
class CompactTargets:
    """As :class:`htc_lab.structures.Targets`, whose masks would take a picture's size each.

    Attributes:
        boxes: (n, 4) float32, xyxy px.
        labels: (n,) int64.
        masks: of the n objects.
        semantic: (h, w) uint8, as it was read; None if there is no map.
        rows, columns: the row and column of the map for each of the picture's.
    """

    boxes: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    masks: MaskPatches
    semantic: UInt8[Tensor, "h w"] | None
    rows: Int[Tensor, " H"]
    columns: Int[Tensor, " W"]

    @classmethod
    def of(
        cls, boxes: Tensor, labels: Tensor, masks: MaskPatches, semantic: Tensor | None
    ) -> "CompactTargets":
        """With a map at the picture's size."""
        return cls(boxes, labels, masks, semantic, torch.arange(masks.height), torch.arange(masks.width))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) px of the picture."""
        return self.masks.height, self.masks.width

    def whole(self) -> Targets:
        """All of it."""
        return Targets(self.boxes, self.labels, self.masks.whole(), self._map(self.rows, self.columns))

    def resized(self, height: int, width: int) -> "CompactTargets":
        """At another size, as ``resize_sample`` does it: objects that vanish are dropped."""
        old_height, old_width = self.size
        if (height, width) == self.size:
            return self
        boxes = scaled_boxes(self.boxes, width / old_width, height / old_height, height, width)
        masks = self.masks.resized(height, width)
        keep = (masks.areas() > 0) & ((boxes[:, 2:] - boxes[:, :2]) >= 1.0).all(dim=1)
        return replace(
            self,
            boxes=boxes[keep],
            labels=self.labels[keep],
            masks=masks.select(keep.nonzero().flatten().tolist()),
            rows=self.rows[nearest(old_height, height)],
            columns=self.columns[nearest(old_width, width)],
        )

    def mirrored(self) -> "CompactTargets":
        """Left to right."""
        x1, y1, x2, y2 = self.boxes.unbind(dim=1)
        width = self.size[1]
        boxes = torch.stack([width - x2, y1, width - x1, y2], dim=1)
        return replace(self, boxes=boxes, masks=self.masks.mirrored(), columns=self.columns.flip(0))

    def cropped(self, window: Window) -> Targets:
        """The part inside a window (top, left, height, width px), in its pixels.

        An object whose box is wholly inside stays as it is. One that is cut stays if at least
        ``LEAST_PIXELS`` of its pixels and ``LEAST_SHARE`` of them are inside; its box is then that of these
        pixels. What is left of the others is background.
        """
        top, left, height, width = window
        shifted = self.boxes - torch.tensor([left, top, left, top])
        limits = torch.tensor([width, height, width, height])
        touching = ((shifted[:, 2:] > 0) & (shifted[:, :2] < limits[2:])).all(dim=1)
        inside = ((shifted >= 0) & (shifted <= limits)).all(dim=1)
        near = touching.nonzero().flatten().tolist()
        seen = self.masks.select(near).cropped(window)
        boxes, kept = [], []
        areas = seen.areas().tolist()
        for place, i in enumerate(near):
            if inside[i]:
                boxes.append(shifted[i])
                kept.append(place)
            elif areas[place] >= max(LEAST_PIXELS, LEAST_SHARE * int(self.masks.patches[i].sum())):
                (y, x), (h, w) = seen.corners[place], seen.patches[place].shape
                boxes.append(torch.tensor([x, y, x + w, y + h], dtype=torch.float32))
                kept.append(place)
        return Targets(
            boxes=torch.stack(boxes) if boxes else self.boxes[:0],
            labels=self.labels[[near[place] for place in kept]],
            masks=seen.select(kept).whole(),
            semantic=self._map(self.rows[top : top + height], self.columns[left : left + width]),
        )

    def _map(self, rows: Tensor, columns: Tensor) -> UInt8[Tensor, "H W"] | None:
        return None if self.semantic is None else self.semantic[rows[:, None], columns]
