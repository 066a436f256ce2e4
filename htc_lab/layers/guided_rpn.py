r"""Guided anchoring: anchors where objects are likely, in the shape they likely have (arXiv 1901.03278).

The RPN tries the same three anchors in every cell. Here each cell says how likely the centre of an object is,
and predicts the one anchor it has, starting from a square s of its level:

.. math::
    w = s \, e^{\sigma dw}, \quad h = s \, e^{\sigma dh}

As anchors then differ from cell to cell, what looks at them must know their shape: a deformable convolution
takes its offsets from (dw, dh). Objectness and deltas are predicted from there, as by an RPN.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from htc_lab.layers.boxes import decode_deltas
from htc_lab.layers.conv import convolve
from htc_lab.layers.deformable import deformed
from htc_lab.layers.guided_config import GuidedConfig
from htc_lab.layers.guided_targets import bounded_iou_loss, location_targets, match_cells
from htc_lab.layers.matching import Draws
from htc_lab.layers.rpn import (
    anchor_grid,
    anchor_losses,
    best_of_all_levels,
    best_scores,
    decoded,
    draw_anchors,
    inside_image,
)
from htc_lab.layers.rpn_config import RPNConfig
from htc_lab.light_torchvision import sigmoid_focal_loss
from htc_lab.structures import Losses, Proposals, Targets
from htc_lab.transfer import fetch, send

# An anchor may be a million times its square: practically without limit, as in the reference.
_LARGEST_RATIO = 1e6


@dataclass(frozen=True)
class GuidedLevel:
    """What is predicted for the n cells of one level's map.

    Attributes:
        size: (h, w) of the map, n = h w.
        stride: px.
        logits: (B, n): objectness of a cell's anchor.
        deltas: (B, n, 4): from the anchor to the object.
        shapes: (B, n, 2): dw and dh, in units of ``shape_stds``.
        locations: (B, n): logits of an object's centre.
        anchors: (B, n, 4) xyxy px: the guided ones, without a gradient.
    """

    size: tuple[int, int]
    stride: int
    logits: Float[Tensor, "B n"]
    deltas: Float[Tensor, "B n 4"]
    shapes: Float[Tensor, "B n 2"]
    locations: Float[Tensor, "B n"]
    anchors: Float[Tensor, "B n 4"]


class _FeatureAdaption(nn.Module):
    """A 3x3 convolution that looks where the anchor is; the reference's names of weights."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(2, 18 * groups, 1, bias=False)
        self.conv_adaption = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.normal_(self.conv_offset.weight, std=0.1)
        nn.init.normal_(self.conv_adaption.weight, std=0.01)

    def forward(
        self, x: Float[Tensor, "B C h w"], shape: Float[Tensor, "B 2 h w"]
    ) -> Float[Tensor, "B C h w"]:
        offsets = self.conv_offset(shape.detach())
        return F.relu(deformed(x, offsets, self.conv_adaption.weight), inplace=True)


class GuidedRPN(nn.Module):
    """Location, shape, objectness and deltas of one anchor for every cell of every FPN level."""

    def __init__(
        self, channels: int, strides: tuple[int, ...], config: RPNConfig, guided: GuidedConfig
    ) -> None:
        super().__init__()
        self.config, self.guided, self.strides = config, guided, strides
        self.rpn_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_loc = nn.Conv2d(channels, 1, 1)
        self.conv_shape = nn.Conv2d(channels, 2, 1)
        self.feature_adaption = _FeatureAdaption(channels, guided.deform_groups)
        self.conv_cls = nn.Conv2d(channels, 1, 1)
        self.conv_reg = nn.Conv2d(channels, 4, 1)
        for layer in (self.rpn_conv, self.conv_loc, self.conv_shape, self.conv_cls, self.conv_reg):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        # One cell in a hundred: otherwise the many empty ones would decide the first steps.
        nn.init.constant_(self.conv_loc.bias, -math.log(99))  # type: ignore[arg-type]

    def forward(self, levels: list[Tensor]) -> list[GuidedLevel]:
        """What is predicted, level by level."""
        found = []
        for x, stride in zip(levels, self.strides, strict=True):
            hidden = convolve(x, self.rpn_conv.weight, self.rpn_conv.bias, padding=(1, 1), relu=True)
            shape = self.conv_shape(hidden)
            adapted = self.feature_adaption(hidden, shape)
            location, logits, deltas = self.conv_loc(hidden), self.conv_cls(adapted), self.conv_reg(adapted)
            height, width = x.shape[-2:]
            shapes = _by_cell(shape)
            found.append(
                GuidedLevel(
                    size=(int(height), int(width)),
                    stride=stride,
                    logits=_by_cell(logits)[..., 0],
                    deltas=_by_cell(deltas),
                    shapes=shapes,
                    locations=_by_cell(location)[..., 0],
                    anchors=torch.stack(
                        [self._anchors(each.detach(), (height, width), stride) for each in shapes]
                    ),
                )
            )
        return found

    def _squares(self, size: tuple[int, int], stride: int, device: torch.device) -> Float[Tensor, "n 4"]:
        return anchor_grid(*size, stride, replace(self.config, anchor_ratios=(1.0,)), device)

    def _anchors(
        self, shapes: Float[Tensor, "n 2"], size: tuple[int, int], stride: int
    ) -> Float[Tensor, "n 4"]:
        """The squares of a level in the shapes of its cells."""
        squares = self._squares(size, stride, shapes.device)
        deltas = torch.cat([torch.zeros_like(shapes), shapes], dim=1)
        return decode_deltas(squares, deltas, self.guided.shape_stds, None, largest_ratio=_LARGEST_RATIO)

    def usual_anchors(
        self, size: tuple[int, int], stride: int, device: torch.device
    ) -> Float[Tensor, "n k 4"]:
        """The anchors that decide which cells learn the shape of an object: each size with each ratio."""
        octaves, base = self.guided.octave_scales, self.config.anchor_scale
        sizes = [replace(self.config, anchor_scale=base * 2 ** (i / octaves)) for i in range(octaves)]
        grids = [anchor_grid(*size, stride, of_size, device) for of_size in sizes]
        return torch.cat([grid.reshape(size[0] * size[1], -1, 4) for grid in grids], dim=1)

    @torch.no_grad()
    def propose(
        self, outputs: list[GuidedLevel], sizes: list[tuple[int, int]], training: bool = False
    ) -> Proposals:
        """The best boxes of each image after NMS within a level.

        Args:
            outputs: what ``forward`` returned.
            sizes: (height, width) px of each image.
            training: keep the training's number of boxes, and those of unlikely places.
        """
        config = self.config
        before = config.train_before_nms if training else config.test_before_nms
        after = config.train_after_nms if training else config.test_after_nms
        limits = send(torch.tensor([(w, h) for h, w in sizes], dtype=torch.float32), outputs[0].logits.device)
        found: list[tuple[Tensor, ...]] = []
        for i, limit in enumerate(limits):
            for number, level in enumerate(outputs):
                likely = level.locations[i].sigmoid() >= (0.0 if training else self.guided.location_threshold)
                cells = torch.nonzero(likely).squeeze(1)
                score, best = best_scores(level.logits[i][cells].sigmoid(), before)
                cells = cells[best]
                box = decoded(level.anchors[i][cells], level.deltas[i][cells], limit, config)
                found.append((box, score, torch.full_like(cells, number), torch.full_like(cells, i)))
        return best_of_all_levels(found, len(sizes), after, config)

    def losses(
        self,
        outputs: list[GuidedLevel],
        sizes: list[tuple[int, int]],
        targets: list[Targets],
        generator: Draws = None,
    ) -> Losses:
        """The RPN's two on the guided anchors, and those of shapes and locations.

        ``loss_anchor_shape`` is divided by the number of sampled cells, ``loss_anchor_loc`` by a fraction of
        all cells.
        """
        device = outputs[0].logits.device
        usual = torch.cat([self.usual_anchors(level.size, level.stride, device) for level in outputs])
        inside = [self._inside(usual, size) for size in sizes]
        losses = Losses()
        losses.add("loss_anchor_loc", *self._location_loss(outputs, targets))
        losses.add("loss_anchor_shape", *self._shape_loss(outputs, usual, inside, targets, generator))
        anchors = torch.cat([level.anchors for level in outputs], dim=1)
        logits = torch.cat([level.logits for level in outputs], dim=1)
        deltas = torch.cat([level.deltas for level in outputs], dim=1)
        losses.join(anchor_losses(logits, deltas, list(anchors), inside, targets, self.config, generator))
        return losses

    def _inside(self, usual: Float[Tensor, "n k 4"], size: tuple[int, int]) -> Bool[Tensor, " n"]:
        """The cells of which one usual anchor, at least, reaches far enough out of the image no more."""
        return torch.stack(
            [inside_image(one, *size, self.config.allowed_border) for one in usual.unbind(dim=1)]
        ).any(dim=0)

    def _location_loss(self, outputs: list[GuidedLevel], targets: list[Targets]) -> tuple[Tensor, int]:
        """Focal loss over all cells, and of how many cells it is the mean."""
        boxes = [fetch(target.boxes) for target in targets]
        wanted = location_targets(
            boxes, [level.size for level in outputs], self.strides, self.config.anchor_scale, self.guided
        )
        total, count = outputs[0].locations.new_zeros(()), 0
        for level, target in zip(outputs, wanted, strict=True):
            centre, weight = (
                send(each.flatten(1), level.locations.device) for each in (target.centre, target.weight)
            )
            total = total + (sigmoid_focal_loss(level.locations, centre) * weight).sum()
            count += level.locations.numel()
        return self.guided.location_weight * total * self.guided.location_cells / count, count

    def _shape_loss(
        self,
        outputs: list[GuidedLevel],
        usual: Float[Tensor, "n k 4"],
        inside: list[Tensor],
        targets: list[Targets],
        generator: Draws,
    ) -> tuple[Tensor, int]:
        """Bounded IoU loss over the sampled positives, and the number of sampled cells it is divided by."""
        with torch.no_grad():
            verdicts = [
                match_cells(usual, target.boxes, self.config, trained)
                for target, trained in zip(targets, inside, strict=True)
            ]
            drawn = draw_anchors(verdicts, self.config, generator)
        squares = torch.cat([self._squares(level.size, level.stride, usual.device) for level in outputs])
        shapes = torch.cat([level.shapes for level in outputs], dim=1)
        total, count = shapes.new_zeros(()), 0
        for shape, target, (cells, matched) in zip(shapes, targets, drawn, strict=True):
            positive = cells[: len(matched)]
            deltas = torch.cat([torch.zeros_like(shape[positive]), shape[positive]], dim=1)
            anchors = decode_deltas(
                squares[positive], deltas, self.guided.shape_stds, None, largest_ratio=_LARGEST_RATIO
            )
            loss = bounded_iou_loss(anchors, target.boxes[matched], self.guided.shape_beta)
            total = total + loss.sum()
            count += len(cells)
        return self.guided.shape_weight * total / max(count, 1), count


def _by_cell(x: Float[Tensor, "B d h w"]) -> Float[Tensor, "B n d"]:
    """Cell by cell in rows; ranking and boxes need more digits than bfloat16 has."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).float()
