"""Figures of lesson 01: outlines on a pixel grid, and semantic maps side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from htc_lab.plots.drawing import draw_semantic
from htc_lab.plots.figure import Picture, new_figure, row_of_pictures
from htc_lab.plots.palette import INK, hex_of

_MAP_SIDE = 384


def show_grid(masks: Mapping[str, np.ndarray], polygon: Sequence[float] = ()) -> Picture:
    """Small masks as grids of pixels, each with the outline it was made from.

    Args:
        masks: (h, w) arrays by title; nonzero pixels are filled.
        polygon: x1, y1, x2, y2, ... px; if empty, no outline is drawn.
    """
    figure = new_figure(5.0 * len(masks), 4.2)
    points = np.asarray([*polygon, *polygon[:2]], dtype=float).reshape(-1, 2)
    for axes, (title, mask) in zip(
        figure.subplots(1, len(masks), squeeze=False)[0], masks.items(), strict=True
    ):
        height, width = mask.shape
        axes.pcolormesh(mask > 0, cmap="Blues", vmin=0, vmax=2.2, edgecolors="#c9ced3", linewidth=0.5)
        if len(points):
            axes.plot(points[:, 0], points[:, 1], color=hex_of(4), linewidth=2)
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_aspect("equal")
        axes.set_title(title, fontsize=13, color=INK, loc="left")
        axes.tick_params(length=0, labelsize=9)
        axes.set_frame_on(False)
    return figure


def show_maps(maps: Mapping[str, Tensor], captions: Sequence[str] = ()) -> Picture:
    """Semantic maps, (H, W) uint8, by title."""
    lines = captions or [""] * len(maps)
    pictures = [
        (draw_semantic(values, _MAP_SIDE), title, line)
        for (title, values), line in zip(maps.items(), lines, strict=True)
    ]
    return row_of_pictures(pictures)
